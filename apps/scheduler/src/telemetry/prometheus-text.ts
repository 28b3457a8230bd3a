/**
 * Metrics as a Prometheus user sees them, for those without a collector.
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format; names as a collector translates them:
 * https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
 */
import type { HistogramPoint, Metric, MetricBatch } from '@battlescope/scheduler-core'

const unitSuffixes: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' }

/** `scheduler.duration` in `s` is `scheduler_duration_seconds`; a sum ends in `_total`. */
export function prometheusName({ name, unit, kind }: Pick<Metric, 'name' | 'unit' | 'kind'>): string {
  const plain = name.replaceAll(/[^A-Za-z0-9_:]/g, '_')
  const suffixes = [unitSuffixes[unit] ?? '', kind === 'sum' ? '_total' : '']
  return suffixes.reduce((text, suffix) => (text.endsWith(suffix) ? text : `${text}${suffix}`), plain)
}

export function prometheusText({ metrics }: MetricBatch): string {
  const families = metrics.filter(({ points }) => points.length > 0).map(family)
  // Names that differ only in what Prometheus cannot write would be one family, and it refuses a file that has one twice.
  return [...new Map(families.map((each) => [each.name, each])).values()].map(({ text }) => text).join('')
}

function family(metric: Metric): { readonly name: string; readonly text: string } {
  const name = prometheusName(metric)
  const type = metric.kind === 'sum' ? 'counter' : metric.kind
  const help = metric.description.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  const samples =
    metric.kind === 'histogram'
      ? metric.points.flatMap((point) => histogramSamples(name, point))
      : metric.points.map(({ attributes, value }) => sample(name, attributes, value))
  return { name, text: [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples, ''].join('\n') }
}

function histogramSamples(name: string, { attributes, bounds, counts, sum, count }: HistogramPoint): readonly string[] {
  let below = 0
  const buckets = [...bounds.map(String), '+Inf'].map((le, index) => {
    below += counts[index] ?? 0
    return sample(`${name}_bucket`, { ...attributes, le }, below)
  })
  return [...buckets, sample(`${name}_sum`, attributes, sum), sample(`${name}_count`, attributes, count)]
}

type Labels = Readonly<Record<string, string>>

function sample(name: string, labels: Labels, value: number): string {
  const text = Object.entries(labels)
    .map(([label, labelValue]) => `${label.replaceAll(/[^A-Za-z0-9_]/g, '_')}="${escaped(labelValue)}"`)
    .join()
  return `${name}${text === '' ? '' : `{${text}}`} ${formatted(value)}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function formatted(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
