import type { Environment } from '../host.js'

/**
 * Whether telemetry is on: an OTLP endpoint is set, and neither `OTEL_SDK_DISABLED=true` nor `OTEL_TRACES_EXPORTER=none` turns it off.
 * Asked before anything of OpenTelemetry is evaluated, so that a bare command line does not pay for it. Empty means absent, as
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ asks for.
 */
export function telemetryWanted(environment: Environment): boolean {
  const valueOf = (name: string) => environment[name]?.trim() ?? ''
  if (valueOf('OTEL_SDK_DISABLED').toLowerCase() === 'true') return false
  if (valueOf('OTEL_TRACES_EXPORTER') === 'none') return false
  return valueOf('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== '' || valueOf('OTEL_EXPORTER_OTLP_ENDPOINT') !== ''
}
