import type { MetricBatch } from './metrics.js'

/** What core needs of telemetry. The program brings OpenTelemetry when it is enabled; otherwise nothing is loaded. */
export interface Telemetry {
  /** Runs `work` in a span that ends with it; a rejection marks the span as failed. */
  span<T>(
    name: string,
    attributes: Readonly<Record<string, string | number | boolean>>,
    work: (span: Span) => Promise<T>,
  ): Promise<T>
  /**
   * Sends metrics, in place of what was sent before. Never rejects; ends when they were sent, or could not be. Absent where nobody wants
   * metrics: then nothing is read for them.
   */
  readonly sendMetrics?: (batch: MetricBatch) => Promise<void>
}

export interface Span {
  readonly traceId: string | undefined
  /** W3C trace context, to be passed on. */
  readonly traceparent: string | undefined
  set(attributes: Readonly<Record<string, string | number | boolean>>): void
}

export const noTelemetry: Telemetry = {
  span: (_name, _attributes, work) => work({ traceId: undefined, traceparent: undefined, set: () => undefined }),
}
