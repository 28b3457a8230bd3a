/** Telemetry of one run. Small, so that asking for it costs little; OpenTelemetry itself is evaluated when it really starts. */
import type { TaskLogger } from '@battlescope/scheduler-core'
import type { Environment } from '../host.js'
import type { StartedTelemetry } from './started-telemetry.js'
import { telemetryWanted } from './wanted.js'

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
 * Starts traces over OTLP when the environment asks for them. Never throws: telemetry that cannot start is a warning.
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
  if (!telemetryWanted(environment)) return undefined
  const valueOf = (name: string) => environment[name]?.trim() || undefined
  const exporters = valueOf('OTEL_TRACES_EXPORTER') ?? 'otlp'
  const protocol =
    valueOf('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ?? valueOf('OTEL_EXPORTER_OTLP_PROTOCOL') ?? 'http/protobuf'
  if (exporters !== 'otlp') {
    return refuse(logger, `OTEL_TRACES_EXPORTER=${exporters} is not in this build`, 'use otlp or none')
  }
  if (protocol !== 'http/protobuf' && protocol !== 'http/json') {
    const hint = 'use http/protobuf or http/json; collectors take both, usually on port 4318'
    return refuse(logger, `OTEL_EXPORTER_OTLP_PROTOCOL=${protocol} is not in this build`, hint)
  }
  try {
    const { startSdk } = await import('./sdk.js')
    return startSdk({ protocol, serviceName, serviceVersion, traceparent: valueOf('TRACEPARENT'), logger, scrub })
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
