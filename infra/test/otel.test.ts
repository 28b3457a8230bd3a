/** infra/otel as a file: no collector runs here. Options are held against those that each component documents. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { infra } from './kubernetes.js'

type Kind = 'receivers' | 'processors' | 'exporters' | 'extensions'
type Components = Readonly<Record<string, Readonly<Record<string, unknown>> | null>>
interface Collector extends Readonly<Record<Kind, Components>> {
  readonly service: {
    readonly extensions: readonly string[]
    readonly pipelines: Readonly<
      Record<string, Readonly<Record<'receivers' | 'processors' | 'exporters', readonly string[]>>>
    >
  }
}

const text = readFileSync(join(infra, 'otel/collector.yaml'), 'utf8')
const rules = readFileSync(join(infra, 'prometheus/scheduler.rules.yaml'), 'utf8')
const kinds: readonly Kind[] = ['receivers', 'processors', 'exporters', 'extensions']

/**
 * By the README of each component, in opentelemetry-collector and opentelemetry-collector-contrib; of options that hold others, those
 * within. What is not in use is not listed.
 */
const documented: Readonly<Record<string, readonly string[]>> = {
  'receivers.otlp': ['protocols.http.endpoint', 'protocols.grpc.endpoint'],
  'processors.memory_limiter': ['check_interval', 'limit_mib', 'spike_limit_mib'],
  'processors.transform': ['error_mode', 'metric_statements'],
  'processors.batch': ['timeout', 'send_batch_size', 'send_batch_max_size'],
  'exporters.prometheusremotewrite': [
    'endpoint',
    'tls.insecure',
    'add_metric_suffixes',
    'resource_to_telemetry_conversion.enabled',
    'target_info.enabled',
    'retry_on_failure.enabled',
    'retry_on_failure.initial_interval',
    'retry_on_failure.max_interval',
    'retry_on_failure.max_elapsed_time',
  ],
  'exporters.prometheus': ['endpoint', 'metric_expiration', 'add_metric_suffixes', 'without_scope_info'],
  'exporters.debug': ['verbosity'],
  'extensions.health_check': ['endpoint'],
}

function leaves(value: unknown, path = ''): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return path === '' ? [] : [path]
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === '' ? key : `${path}.${key}`))
}

/** Options and components that nobody documents, and names in pipelines of what is not configured. */
function problemsOf(file: string): readonly string[] {
  const collector = parse(file) as Collector
  const options = kinds.flatMap((kind) =>
    Object.entries(collector[kind]).flatMap(([name, settings]) =>
      leaves(settings)
        .filter((path) => !(documented[`${kind}.${name}`] ?? []).includes(path))
        .map((path) => `${kind}.${name}.${path}`),
    ),
  )
  const { pipelines, extensions } = collector.service
  const used = [
    ...extensions.map((name) => ['extensions', name] as const),
    ...Object.values(pipelines).flatMap((pipeline) =>
      (['receivers', 'processors', 'exporters'] as const).flatMap((kind) =>
        pipeline[kind].map((name) => [kind, name] as const),
      ),
    ),
  ]
  const absent = used.filter(([kind, name]) => !(name in collector[kind])).map(([kind, name]) => `${kind}.${name}`)
  return [...options, ...absent]
}

describe('the collector', () => {
  const collector = parse(text) as Collector

  it('has options that its components document, and pipelines of what is configured', () => {
    expect(problemsOf(text)).toEqual([])
    expect(Object.keys(collector.service.pipelines).sort()).toEqual(['metrics', 'traces'])
  })

  it.each([
    ['metric_expiration', 'metrics_expiration', 'exporters.prometheus.metrics_expiration'],
    ['memory_limiter:', 'memorylimiter:', 'processors.memory_limiter'],
    ['exporters: [debug]', 'exporters: [logging]', 'exporters.logging'],
  ])('may not have %s written as %s', (right, wrong, problem) => {
    expect(text).toContain(right)
    expect(problemsOf(text.replaceAll(right, wrong))).toContain(problem)
  })

  it('leaves of the resource what makes job and instance, and names metrics as they are documented', () => {
    const { transform, memory_limiter: limiter } = collector.processors
    expect(limiter).toBeTruthy()
    expect(JSON.stringify(transform)).toContain(
      JSON.stringify('keep_keys(resource.attributes, ["service.name", "service.instance.id"])'),
    )
    const { metrics } = collector.service.pipelines
    expect(metrics!.processors.at(0)).toBe('memory_limiter')
    expect(metrics!.processors).toContain('transform')
    expect(metrics!.processors.at(-1)).toBe('batch')
    for (const name of ['prometheusremotewrite', 'prometheus']) {
      expect(collector.exporters[name], name).toMatchObject({ add_metric_suffixes: true })
    }
    expect(collector.exporters['prometheusremotewrite']).toMatchObject({
      resource_to_telemetry_conversion: { enabled: false },
    })
  })

  it('shows values for four intervals of the slowest overlay, and for no less than the rules look back', () => {
    const [, hours] = /:-(\d+)h\}$/.exec(String(collector.exporters['prometheus']?.['metric_expiration'])) ?? []
    const slowest = readFileSync(join(infra, 'k8s-overlays/low-activity/kustomization.yaml'), 'utf8')
    const [, minutes] = /SCHEDULER_EXPECTED_INTERVAL\D*(\d+)m/.exec(slowest) ?? []
    expect(Number(hours) * 60).toBeGreaterThanOrEqual(4 * Number(minutes))
    const windows = [...rules.matchAll(/\[(\d+)h\]/g)].map(([, window]) => Number(window))
    expect(Number(hours)).toBeGreaterThanOrEqual(Math.min(...windows))
  })

  it('listens where the image sends to', () => {
    const dockerfile = readFileSync(join(dirname(infra), 'docker/Dockerfile'), 'utf8')
    const [, port] = /OTEL_EXPORTER_OTLP_ENDPOINT=http:\/\/[\w-]+:(\d+)/.exec(dockerfile) ?? []
    expect(collector.receivers['otlp']).toMatchObject({ protocols: { http: { endpoint: `0.0.0.0:${port}` } } })
  })
})
