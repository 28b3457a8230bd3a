/**
 * Many processes one after another, some of them killed, some with a collector that misbehaves: what arrives must read as if one process
 * had counted all the time. Judged by what the collector received and by the rows that the totals come from.
 */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { expireClaims, openSlots, slotted, type World } from './world.js'

interface Point {
  readonly attributes?: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[]
  readonly startTimeUnixNano?: string
  readonly asDouble?: number
  readonly asInt?: string
  readonly count?: string | number
  readonly sum?: number
  readonly bucketCounts?: readonly (string | number)[]
  readonly explicitBounds?: readonly number[]
}
interface Points {
  readonly dataPoints: readonly Point[]
  readonly aggregationTemporality?: number | string
}
interface SentMetric {
  readonly name: string
  readonly sum?: Points
  readonly gauge?: Points
  readonly histogram?: Points
}
interface Sent {
  readonly resourceMetrics: readonly {
    readonly resource: { readonly attributes: NonNullable<Point['attributes']> }
    readonly scopeMetrics: readonly { readonly metrics: readonly SentMetric[] }[]
  }[]
}

/** One number of one series; a histogram has one for its count, its sum and each bucket. */
interface Sample {
  readonly value: number
  /** Undefined for gauges, which may fall. */
  readonly startedAt: string | undefined
}
type Batch = ReadonlyMap<string, Sample>

/** How the collector answers. */
export const moods = ['well', '503', '400', 'never', 'not there'] as const
export type Mood = (typeof moods)[number]

export interface ContinuityReport {
  readonly runs: number
  readonly killed: number
  readonly batches: number
  readonly series: number
  /** By mood of the collector: the longest time from the end of the work to the end of the process, in milliseconds. */
  readonly longestFlushMs: Readonly<Record<Mood, number>>
  readonly violations: readonly string[]
}

const tasks = [...slotted, 'stress-every-run']
const brief = Object.fromEntries(
  tasks.map((task) => [`SCHEDULER_${task.toUpperCase().replaceAll('-', '_')}_HOLD`, '10'] as const),
)
const telemetry = (url: string) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' })
/** Cumulative, in the protocol's numbering and in its JSON. */
const cumulative: readonly unknown[] = [2, 'AGGREGATION_TEMPORALITY_CUMULATIVE']

export async function metricContinuity(
  world: World,
  { runs }: { readonly runs: number },
  onRun: (run: number) => void = () => undefined,
): Promise<ContinuityReport> {
  const collector = await startCollector()
  const violations: string[] = []
  const longestFlushMs: Record<Mood, number> = { well: 0, '503': 0, '400': 0, never: 0, 'not there': 0 }
  let killed = 0
  try {
    for (let run = 0; run < runs; run += 1) {
      // The first run, which nobody collects, makes the series. After it every tenth run meets each of the bad moods in turn; the others a good one.
      const mood = run % 10 === 5 ? (moods[1 + (Math.floor(run / 10) % 4)] ?? 'well') : 'well'
      collector.mood = mood
      if (run > 0) await openSlots(world, 20_000 + run)
      const url = mood === 'not there' ? 'http://127.0.0.1:1' : collector.url
      const running = world.start(tasks, run === 0 ? brief : { ...brief, ...telemetry(url) })
      // Every third is killed somewhere.
      if (run % 3 === 2 && mood === 'well') {
        await running.until('task-started').catch(() => undefined)
        await sleep(Math.random() * 200)
        running.child.kill('SIGKILL')
        killed += 1
        await running.ended
        await expireClaims(world)
      } else {
        let workEndedMs: number | undefined
        void running.until('run-ended').then(
          () => (workEndedMs = performance.now()),
          () => undefined,
        )
        const { exitCode, rest, log } = await running.ended
        if (workEndedMs !== undefined)
          longestFlushMs[mood] = Math.max(longestFlushMs[mood], performance.now() - workEndedMs)
        // 1: the claim of a killed run counts as a failure, and its task is in back-off; that is no fault of the metrics.
        if (exitCode !== 0 && exitCode !== 75)
          violations.push(
            `run ${run}, collector ${mood}: exit code ${exitCode ?? 'none'}: ${rest}${JSON.stringify(log.filter(({ level }) => level === 'error'))}`,
          )
      }
      onRun(run)
    }
    collector.mood = 'well'
    await world.start(tasks, { ...brief, ...telemetry(collector.url) }).ended
    const [first] = collector.batches
    violations.push(
      ...collector.oddities,
      ...discontinuities(collector.batches),
      ...(await differences(world, collector.batches.at(-1))),
    )
    return { runs, killed, batches: collector.batches.length, series: first?.size ?? 0, longestFlushMs, violations }
  } finally {
    await collector.close()
  }
}

/**
 * When a task of a package is due next is known once the package is loaded; the batch that is sent before that, lest a package that hangs
 * keeps everything back, cannot have it. A gauge that pauses for a second is no reset.
 */
const mayPause = (series: string) => series.startsWith('scheduler.task.next_due_timestamp')

/** What an observer who looks at each batch after the one before would call a reset, a gap or a newcomer. */
export function discontinuities(batches: readonly Batch[]): readonly string[] {
  const found: string[] = []
  batches.forEach((batch, index) => {
    const before = batches[index - 1]
    if (before === undefined) return
    for (const series of before.keys())
      if (!batch.has(series) && !mayPause(series)) found.push(`batch ${index}: ${series} has vanished`)
    for (const [series, { value, startedAt }] of batch) {
      const earlier = before.get(series)
      if (earlier === undefined) {
        if (!mayPause(series)) found.push(`batch ${index}: ${series} is new`)
      } else if (startedAt !== earlier.startedAt)
        found.push(`batch ${index}: ${series} began again at ${String(startedAt)}`)
      else if (startedAt !== undefined && value < earlier.value)
        found.push(`batch ${index}: ${series} fell from ${earlier.value} to ${value}`)
    }
  })
  return found
}

/** The last batch against the rows, counted by SQL of another shape. */
async function differences(world: World, last: Batch | undefined): Promise<readonly string[]> {
  if (last === undefined) return ['nothing was received']
  const rows = await world.query<{ series: string; value: number }>(
    `SELECT 'scheduler.runs{exit_code=' || exit_code || '}' AS series, run_count::float8 AS value FROM scheduler.run_total
     UNION ALL SELECT 'scheduler.duration#count{}', sum(run_count)::float8 FROM scheduler.run_total
     UNION ALL SELECT 'scheduler.duration#sum{}', sum(duration_ms_sum)::float8 / 1000 FROM scheduler.run_total
     UNION ALL SELECT 'scheduler.errors{task=' || task || '}', sum(run_count)::float8 FROM scheduler.task_total
       WHERE outcome IN ('failed', 'timed-out') GROUP BY task
     UNION ALL SELECT 'scheduler.duration#bucket' || (bucket - 1) || '{}', sum(count)::float8
       FROM scheduler.run_total, unnest(bucket_counts) WITH ORDINALITY AS b (count, bucket) GROUP BY bucket`,
  )
  if (rows.length === 0) return ['there are no totals to compare with']
  return rows.flatMap(({ series, value }) => {
    const sent = last.get(series)
    // The sum of durations is added up in another order here.
    return sent !== undefined && Math.abs(sent.value - value) < 1e-6
      ? []
      : [`${series}: sent ${sent?.value ?? 'nothing'}, the rows say ${value}`]
  })
}

function samplesOf({ resourceMetrics }: Sent, oddities: string[]): Batch {
  const samples = new Map<string, Sample>()
  const add = (series: string, sample: Sample) => {
    if (samples.has(series)) oddities.push(`${series} is there twice in one batch`)
    samples.set(series, sample)
  }
  for (const { resource, scopeMetrics } of resourceMetrics) {
    if (!resource.attributes.some(({ key }) => key === 'service.instance.id')) oddities.push('no service.instance.id')
    for (const { name, sum, gauge, histogram } of scopeMetrics.flatMap(({ metrics }) => metrics)) {
      for (const points of [sum, histogram])
        if (points !== undefined && !cumulative.includes(points.aggregationTemporality))
          oddities.push(`${name} is not cumulative`)
      for (const point of [...(sum?.dataPoints ?? []), ...(gauge?.dataPoints ?? [])]) {
        const startedAt = sum === undefined ? undefined : String(point.startTimeUnixNano)
        add(`${name}${labels(point)}`, { value: point.asDouble ?? Number(point.asInt), startedAt })
      }
      for (const point of histogram?.dataPoints ?? []) {
        const startedAt = `${String(point.startTimeUnixNano)} with bounds ${String(point.explicitBounds)}`
        add(`${name}#count${labels(point)}`, { value: Number(point.count), startedAt })
        add(`${name}#sum${labels(point)}`, { value: point.sum ?? NaN, startedAt })
        for (const [index, count] of (point.bucketCounts ?? []).entries())
          add(`${name}#bucket${index}${labels(point)}`, { value: Number(count), startedAt })
      }
    }
  }
  return samples
}

function labels({ attributes = [] }: Point): string {
  const pairs = attributes.map(({ key, value }) => `${key}=${value.stringValue ?? JSON.stringify(value)}`)
  return `{${pairs.sort().join()}}`
}

async function startCollector() {
  const batches: Batch[] = []
  const oddities: string[] = []
  const collector = { mood: 'well' as Mood, url: '', batches, oddities, close: () => Promise.resolve() }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const bytes = Buffer.concat(chunks)
      if (collector.mood === 'well' && request.url?.endsWith('/v1/metrics') === true) {
        const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes
        batches.push(samplesOf(JSON.parse(body.toString()) as Sent, oddities))
      }
      answer(response, collector.mood)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  collector.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  collector.close = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return collector
}

function answer(response: ServerResponse, mood: Mood): void {
  if (mood === 'never') return
  if (mood === '503' || mood === '400') response.statusCode = Number(mood)
  response.end('{}')
}
