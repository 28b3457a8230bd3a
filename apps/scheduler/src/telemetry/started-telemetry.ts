import type { StatementReport } from '@battlescope/database'
import type { Telemetry } from '@battlescope/scheduler-core'

/** Of OTLP, as OTEL_EXPORTER_OTLP_PROTOCOL names it. */
export type Protocol = 'http/protobuf' | 'http/json'

/** Telemetry of one run, while it runs. */
export interface StartedTelemetry {
  readonly telemetry: Telemetry
  /** Trace and span of the moment, for log lines; of the run itself outside its spans, and nothing before its start. */
  traceFields(): { readonly trace_id: string; readonly span_id: string } | Record<string, never>
  /** A statement that has just ended becomes a span of its own, inside that of the moment; nothing where traces are off. */
  recordStatement(report: StatementReport): void
  /** Sends what is left. Takes `capMs` milliseconds at most and never rejects. */
  shutdown(capMs: number): Promise<void>
}
