/** Telemetry of one run. Small, so that asking for it costs little; OpenTelemetry itself is evaluated when it really starts. */
import type { TaskLogger } from '@battlescope/scheduler-core'
import type { Environment } from '../host.js'
import type { Protocol, StartedTelemetry } from './started-telemetry.js'
import { wantedTelemetry } from './wanted.js'

export interface TelemetryOptions {
  /** Decides whether telemetry is wanted. OpenTelemetry reads endpoints, headers, timeouts and samplers from `process.env` by itself. */
  readonly environment: Environment
  /** Where the environment names none. Default: `battlescope-scheduler`. */
  readonly serviceName?: string
  readonly serviceVersion: string
  /** Takes secrets out of an attribute. */
  readonly scrub: (text: string) => string
  /** Hears what cannot work (warning) and what the exporter reports (debug). Default: one line of JSON on stderr per warning. */
  readonly logger?: Pick<TaskLogger, 'warn' | 'debug'>
}

/**
 * Starts traces and metrics over OTLP, those that the environment asks for. Never throws: what cannot start is a warning.
 * @returns undefined when telemetry is off or cannot start.
 */
export async function startTelemetry(options: TelemetryOptions): Promise<StartedTelemetry | undefined> {
  const {
    environment,
    serviceName = 'battlescope-scheduler',
    serviceVersion,
    scrub,
    logger = warningsOnStderr,
  } = options
  const wanted = wantedTelemetry(environment)
  if (wanted === undefined) return undefined
  const valueOf = (name: string) => environment[name]?.trim() || undefined
  const protocolOf = (signal: 'TRACES' | 'METRICS'): Protocol | undefined => {
    const exporter = valueOf(`OTEL_${signal}_EXPORTER`) ?? 'otlp'
    if (exporter !== 'otlp') {
      return refuse(logger, `OTEL_${signal}_EXPORTER=${exporter} is not in this build`, 'use otlp or none')
    }
    const own = valueOf(`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`)
    const protocol = own ?? valueOf('OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf'
    if (protocol === 'http/protobuf' || protocol === 'http/json') return protocol
    const variable = own === undefined ? 'OTEL_EXPORTER_OTLP_PROTOCOL' : `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`
    const hint = 'use http/protobuf or http/json; collectors take both, usually on port 4318'
    return refuse(logger, `${variable}=${protocol} is not in this build`, hint)
  }
  const traces = wanted.traces ? protocolOf('TRACES') : undefined
  const metrics = wanted.metrics ? protocolOf('METRICS') : undefined
  if (traces === undefined && metrics === undefined) return undefined
  try {
    const { startSdk } = await import('./sdk.js')
    const traceparent = valueOf('TRACEPARENT')
    return startSdk({ traces, metrics, serviceName, serviceVersion, traceparent, logger, scrub })
  } catch (error) {
    const hint = 'look at the OTEL_* variables; the endpoint is a URL such as http://otel-collector:4318'
    return refuse(logger, error instanceof Error ? error.message : String(error), hint)
  }
}

function refuse(logger: Pick<TaskLogger, 'warn'>, problem: string, hint: string): undefined {
  logger.warn({ event: 'telemetry-off', problem, hint }, 'telemetry cannot start; the run goes on without it')
}

/** Telemetry starts before the logs, which carry its trace ids. */
const warningsOnStderr: Pick<TaskLogger, 'warn' | 'debug'> = {
  warn: (fields, msg) => {
    process.stderr.write(`${JSON.stringify({ level: 'warn', package: 'scheduler', ...fields, msg })}\n`)
  },
  debug: () => undefined,
}
