/** Which series there are: those that the built program prints, and those that its tasks' sources name. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { execa } from 'execa'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { infra } from './kubernetes.js'

/** Label → values that were seen; none where only the source is known. */
type Labels = Map<string, Set<string>>
export type Series = ReadonlyMap<string, Labels>

const program = join(infra, '../apps/scheduler/bin/battlescope-scheduler.js')
const packages = join(dirname(infra), 'packages')

/** What whoever collects adds. */
const ofCollector = ['job', 'instance']

/** A database that every task ran on: with something to archive, and a cache table. */
export async function databaseAfterRun(): Promise<{ readonly database: TestDatabase; readonly text: string }> {
  const database = await createTestDatabase()
  const store = mkdtempSync(join(tmpdir(), 'battlescope-metrics-'))
  try {
    await database.query(battlescopeDdl)
    await database.query(`
      CREATE TABLE public.esi_cache (cache_key text PRIMARY KEY, cache_value jsonb, cached_at timestamptz, expires_at timestamptz);
      CREATE INDEX ON public.esi_cache (expires_at);
      CREATE INDEX ON public.killmail_events (occurred_at);
      INSERT INTO public.killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url, isk_value, processed_at)
        SELECT i, 1, t.at, t.at, '', i, t.at
        FROM generate_series(1, 20) AS i, LATERAL (SELECT now() - CASE WHEN i % 2 = 0 THEN interval '6 years' ELSE interval '1 day' END AS at) AS t;
      INSERT INTO public.killmail_enrichments (killmail_id, status) SELECT killmail_id, 'succeeded' FROM public.killmail_events;
      INSERT INTO public.esi_cache SELECT i::text, '{}', now(), now() - interval '1 hour' FROM generate_series(1, 20) AS i`)
    const environment = {
      DATABASE_URL: database.url,
      SCHEDULER_TASKS: 'analyze,cluster,health,statistics,cache,retention,vacuum,reindex',
      SCHEDULER_COLD_STORAGE_URL: `file://${store}`,
    }
    const battlescope = (...argv: readonly string[]) =>
      execa(process.execPath, [program, ...argv], { env: environment, extendEnv: false, timeout: 90_000 })
    await battlescope('run', '--force')
    const { stdout } = await battlescope('metrics')
    return { database, text: stdout }
  } catch (error) {
    await database.drop()
    throw error
  } finally {
    rmSync(store, { recursive: true, force: true })
  }
}

/** @param text in Prometheus' format */
export function seriesIn(text: string): Series {
  const series = new Map<string, Labels>()
  for (const [, name, labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = series.get(name!) ?? new Map<string, Set<string>>()
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      known.set(label!, (known.get(label!) ?? new Set()).add(value!))
    }
    series.set(name!, known)
  }
  return series
}

/** What appears with data alone, or with a Redis, as the tasks' sources have it: `context.metrics.gauge('backlog_rows', …)`. */
export function seriesInSources(): Series {
  const series = new Map<string, Labels>()
  for (const folder of readdirSync(packages).filter((name) => name.startsWith('task-'))) {
    const files = readdirSync(join(packages, folder, 'src'), { recursive: true, encoding: 'utf8' })
    const source = files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(packages, folder, 'src', file), 'utf8'))
      .join('\n')
    const calls = [...source.matchAll(/metrics\.(count|gauge)\(\s*'(\w+)'(.*)/g)].map(([, kind, name, rest]) => ({
      kind,
      name,
      labels: keysOf(`${rest!} ${rest!.includes('attributes') ? attributesIn(source) : ''}`),
    }))
    // The cache task counts these in a loop.
    const [, inLoop = ''] = /const counters = \[(.*)\]/.exec(source) ?? []
    const counted = [...inLoop.matchAll(/'(\w+)'/g)].map(([, name]) => ({
      kind: 'count',
      name,
      labels: ['redis', 'namespace'],
    }))
    // Checks of the health task name theirs by their readings: `gauges: ({ waiting }) => ({ queue_waiting: waiting })`.
    const gauged = [...source.matchAll(/gauges: \(.*?\) => \(\{([^}]*)\}\)/gs)].flatMap(([, body]) =>
      [...body!.matchAll(/\b([a-z0-9_]+):/g)].map(([, name]) => ({ kind: 'gauge', name, labels: [] })),
    )
    for (const { kind, name, labels } of [...calls, ...counted, ...gauged]) {
      const suffix = kind === 'count' && !name!.endsWith('_total') ? '_total' : ''
      const full = `scheduler_${folder.slice('task-'.length)}_${name!}${suffix}`
      const known = series.get(full) ?? new Map<string, Set<string>>()
      for (const label of labels) known.set(label, new Set())
      series.set(full, known)
    }
  }
  return series
}

function attributesIn(source: string): string {
  return [...source.matchAll(/const attributes = (\{.*\})/g)].map(([, literal]) => literal).join(' ')
}

/** `{ policy: name, relation }` has policy and relation. */
function keysOf(text: string): readonly string[] {
  const literals = [...text.matchAll(/\{([^}]*)\}/g)].flatMap(([, inside]) => inside!.split(','))
  return literals.map((part) => part.split(':')[0]!.trim()).filter((key) => /^\w+$/.test(key))
}

export function together(...all: readonly Series[]): Series {
  const series = new Map<string, Labels>()
  for (const [name, labels] of all.flatMap((each) => [...each])) {
    const known = series.get(name) ?? new Map<string, Set<string>>()
    for (const [label, values] of labels) known.set(label, new Set([...(known.get(label) ?? []), ...values]))
    series.set(name, known)
  }
  return series
}

/** Names of series in an expression, the selectors' labels cut off. */
export function namesIn(expression: string): readonly string[] {
  return [...expression.replaceAll(/"[^"]*"/g, '').matchAll(/\bscheduler[\w:]*/g)].map(([name]) => name)
}

/**
 * What an expression, and the texts that show its labels, name and nothing has. Empty is as it should be.
 *
 * @param recorded names of rules, with the labels of what they are made of
 */
export function unknownIn(expression: string, texts: readonly string[], series: Series): readonly string[] {
  const names = namesIn(expression)
  const found: string[] = names.filter((name) => !series.has(name))
  const labelsOf = (name: string) => [...(series.get(name)?.keys() ?? []), ...ofCollector]
  for (const [, name, matchers] of expression.matchAll(/\b(scheduler[\w:]*)\{([^}]*)\}/g)) {
    for (const [, label, operator, value] of matchers!.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)) {
      if (!labelsOf(name!).includes(label!)) found.push(`${name}{${label}}`)
      const values = series.get(name!)?.get(label!) ?? new Set()
      if (operator === '=' && values.size > 0 && !values.has(value!)) found.push(`${name}{${label}="${value}"}`)
    }
  }
  const any = new Set(names.flatMap(labelsOf))
  const grouped = [...expression.matchAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([\w\s,]*)\)/g)]
  const shown = texts.flatMap((text) => [...text.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)])
  for (const label of [...grouped, ...shown].flatMap(([, list]) => list!.split(',').map((each) => each.trim()))) {
    if (label !== '' && !any.has(label)) found.push(label)
  }
  return found
}
