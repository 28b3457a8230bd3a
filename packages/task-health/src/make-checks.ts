/** Makes checks beside each other: few at a time, each with a limit of its own, and none that can take another with it. */
import type { ClientKind, TaskContext } from '@battlescope/scheduler-core'

import { unlessAborted } from './bounded.js'
import type { CheckContext, Needs, Outcome, RelationFacts } from './check.js'
import type { HealthConfig } from './config.js'
import { entryOf, obstacleOf, unknownFrom, type Chosen, type Cursor, type Entry, type Occasion } from './plan.js'
import { selectCatalog, type Catalog } from './queries.js'

export type HealthContext = TaskContext<HealthConfig, unknown, Cursor>

/** Milliseconds for one statement of a check: what takes longer is itself a load that nobody wants every five minutes. */
const statementTimeoutMs = 1000
/** Milliseconds for one check, where it says nothing else. */
const defaultTimeoutMs = 3000
/** Checks that wait for something other than PostgreSQL cost nothing but sockets. */
const networkConcurrency = 8

export interface Made {
  readonly chosen: Chosen
  readonly outcome: Outcome<unknown>
  readonly entry: Entry
}

/** Those that it came to before the budget was exhausted, in the order in which they ended. */
export async function makeChecks(
  context: HealthContext,
  due: readonly Chosen[],
  occasion: Occasion,
): Promise<readonly Made[]> {
  if (due.length === 0 || context.budget.exhausted()) return []
  const wanted = due.map((chosen) => ({ chosen, needs: needsOf(chosen, context.config) }))
  const catalog = await selectCatalog(
    context.reader({ statementTimeoutMs }),
    distinct(wanted.flatMap(({ needs }) => (needs.relations ?? []).map(({ relation }) => relation))),
    distinct(wanted.flatMap(({ needs }) => needs.roles ?? [])),
  )
  const made: Made[] = []
  const lane = async (queue: typeof wanted, concurrency: number) => {
    const work = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        if (context.budget.exhausted()) return
        made.push(await makeOne(context, next.chosen, next.needs, catalog, occasion))
      }
    }
    await Promise.all(Array.from({ length: concurrency }, work))
  }
  const usesNetwork = ({ needs }: { needs: Needs }) => clientsOf(needs).length > 0
  await Promise.all([
    lane(wanted.filter(usesNetwork), networkConcurrency),
    lane(
      wanted.filter((one) => !usesNetwork(one)),
      context.config.checkConcurrency,
    ),
  ])
  return made
}

export function needsOf({ check, options }: Chosen, config: HealthConfig): Needs {
  return check.needs?.(config, options) ?? {}
}

async function makeOne(
  context: HealthContext,
  chosen: Chosen,
  needs: Needs,
  catalog: Catalog,
  occasion: Occasion,
): Promise<Made> {
  const { check } = chosen
  const startedMs = context.clock.monotonicMs()
  let outcome =
    obstacleOf(needs, catalog, (kind) => context.hasClient(kind)) ??
    (await read(context, chosen, needs, catalog, occasion))
  let entry: Entry
  try {
    entry = entryOf(chosen, outcome, occasion)
    if (outcome.outcome === 'measured') publish(context, chosen, outcome.reading)
  } catch (error) {
    outcome = unknownFrom(error)
    entry = entryOf(chosen, outcome, occasion)
  }
  const durationMs = Math.round(context.clock.monotonicMs() - startedMs)
  const why = outcome.outcome === 'measured' ? {} : { reason: outcome.reason }
  const fields = { event: 'check-made', check: check.key, state: entry.state, durationMs, ...why }
  if (entry.state === 'unknown' && entry.state !== chosen.before?.state) context.logger.warn(fields, 'check is unknown')
  else context.logger.debug(fields, 'check made')
  return { chosen, outcome, entry }
}

async function read(
  context: HealthContext,
  { check, options, before }: Chosen,
  needs: Needs,
  catalog: Catalog,
  { now }: Occasion,
): Promise<Outcome<unknown>> {
  const timeoutMs = check.timeoutMs ?? defaultTimeoutMs
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = AbortSignal.any([context.signal, timeout])
  try {
    const checkContext: CheckContext = {
      settings: context.config,
      db: context.reader({ statementTimeoutMs }),
      stateSchema: context.stateSchema,
      now,
      monotonicMs: () => context.clock.monotonicMs(),
      hostNow: () => context.clock.hostNow(),
      relation: (name) => factsOf(catalog, name),
      http: () => context.client('http'),
      redis: () => context.client('redis'),
      hasClient: (kind) => context.hasClient(kind),
      signal,
      memory: memoryOf(check, before),
      logger: context.logger,
    }
    return await unlessAborted(signal, check.read(checkContext, options))
  } catch (error) {
    context.signal.throwIfAborted()
    if (timeout.aborted) {
      return { outcome: 'unknown', cause: 'no-answer', reason: `it took longer than ${timeoutMs} ms` }
    }
    return unknownFrom(error)
  }
}

export function clientsOf({ clients = [], optionalClients = [] }: Needs): readonly ClientKind[] {
  return [...clients, ...optionalClients]
}

function factsOf(catalog: Catalog, name: string): RelationFacts {
  const facts = catalog.relations.get(name)
  if (facts === undefined) throw new RangeError(`the check asks for ${name}, which its needs do not name`)
  return facts
}

function memoryOf(check: Chosen['check'], before: Entry | undefined): CheckContext['memory'] {
  if (check.memory === undefined || before?.memory === undefined) return undefined
  const parsed = check.memory.safeParse(before.memory.value)
  return parsed.success ? { at: new Date(before.memory.atMs), value: parsed.data as unknown } : undefined
}

function publish({ metrics }: HealthContext, { check, options }: Chosen, reading: unknown): void {
  for (const [name, value] of Object.entries(check.gauges?.(reading, options) ?? {})) metrics.gauge(name, value)
}

function distinct(names: readonly string[]): readonly string[] {
  return [...new Set(names)]
}
