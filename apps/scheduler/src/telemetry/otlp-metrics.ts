/**
 * Durable totals over OTLP: the exporter alone, without a meter provider. Nothing is measured here, what PostgreSQL has counted is handed
 * over as it is, cumulative whatever OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE says: the next process goes on from it.
 */
import type { HistogramPoint, Metric, MetricBatch, NumberPoint } from '@battlescope/scheduler-core'
import { ValueType, type HrTime } from '@opentelemetry/api'
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics'
import type { Protocol } from './started-telemetry.js'

export interface MetricsOptions {
  readonly protocol: Protocol
  readonly resource: Resource
  readonly scope: { readonly name: string; readonly version: string }
  /** Hears why something could not be sent. */
  readonly tell: (message: string) => void
}

export interface OtlpMetrics {
  /** Ends when it was sent, or given up by the exporter's own timeout. Never rejects. */
  send(batch: MetricBatch): Promise<void>
}

export function otlpMetrics({ protocol, resource, scope, tell }: MetricsOptions): OtlpMetrics {
  const exporter: PushMetricExporter =
    protocol === 'http/json' ? new JsonMetricExporter() : new ProtobufMetricExporter()
  return {
    send: (batch) =>
      new Promise((resolve) => {
        const at = hrTime(batch.at)
        const instance = resourceFromAttributes({ 'service.instance.id': batch.instanceId })
        const metrics = batch.metrics.filter(({ points }) => points.length > 0).map((metric) => metricData(metric, at))
        exporter.export(
          // What the environment says (OTEL_RESOURCE_ATTRIBUTES) wins.
          { resource: instance.merge(resource), scopeMetrics: [{ scope, metrics }] },
          ({ error }) => {
            if (error !== undefined) tell(error.message)
            resolve()
          },
        )
      }),
  }
}

function metricData(metric: Metric, at: HrTime): MetricData {
  const { name, unit, description } = metric
  const descriptor = { name, unit, description, valueType: ValueType.DOUBLE }
  const aggregationTemporality = AggregationTemporality.CUMULATIVE
  const shared = { descriptor, aggregationTemporality }
  switch (metric.kind) {
    case 'histogram':
      return {
        ...shared,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: metric.points.map((point) => histogramPoint(point, at)),
      }
    case 'sum':
      return {
        ...shared,
        dataPointType: DataPointType.SUM,
        isMonotonic: true,
        dataPoints: metric.points.map((point) => numberPoint(point, at)),
      }
    case 'gauge':
      return {
        ...shared,
        dataPointType: DataPointType.GAUGE,
        dataPoints: metric.points.map((point) => numberPoint(point, at)),
      }
  }
}

function numberPoint({ attributes, value, startAt }: NumberPoint, at: HrTime) {
  return { attributes, value, startTime: startAt === undefined ? at : hrTime(startAt), endTime: at }
}

function histogramPoint({ attributes, count, sum, bounds, counts, startAt }: HistogramPoint, at: HrTime) {
  const buckets = { boundaries: [...bounds], counts: [...counts] }
  return { attributes, value: { buckets, count, sum }, startTime: hrTime(startAt), endTime: at }
}

function hrTime(date: Date): HrTime {
  const ms = date.getTime()
  return [Math.floor(ms / 1000), (ms % 1000) * 1_000_000]
}
