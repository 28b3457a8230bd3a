import type { Environment } from '../host.js'

export interface WantedSignals {
  readonly traces: boolean
  readonly metrics: boolean
}

/**
 * Which telemetry is on: an endpoint is set for it, and neither `OTEL_SDK_DISABLED=true` nor its exporter `none` turns it off.
 * Asked before anything of OpenTelemetry is evaluated, so that a bare command line does not pay for it. Empty means absent, as
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ asks for.
 * @returns undefined when there is none
 */
export function wantedTelemetry(environment: Environment): WantedSignals | undefined {
  const valueOf = (name: string) => environment[name]?.trim() ?? ''
  if (valueOf('OTEL_SDK_DISABLED').toLowerCase() === 'true') return undefined
  const wanted = (signal: 'TRACES' | 'METRICS') =>
    valueOf(`OTEL_${signal}_EXPORTER`) !== 'none' &&
    (valueOf(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`) !== '' || valueOf('OTEL_EXPORTER_OTLP_ENDPOINT') !== '')
  const signals = { traces: wanted('TRACES'), metrics: wanted('METRICS') }
  return signals.traces || signals.metrics ? signals : undefined
}
