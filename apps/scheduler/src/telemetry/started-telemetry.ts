import type { Telemetry } from '@battlescope/scheduler-core'

/** Telemetry of one run, while it runs. */
export interface StartedTelemetry {
  readonly telemetry: Telemetry
  /** Trace and span of the moment, for log lines; of the run itself outside its spans, and nothing before its start. */
  traceFields(): { readonly trace_id: string; readonly span_id: string } | Record<string, never>
  /** Sends what is left. Takes `capMs` milliseconds at most and never rejects. */
  shutdown(capMs: number): Promise<void>
}
