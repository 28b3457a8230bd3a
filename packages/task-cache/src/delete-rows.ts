/** The PostgreSQL part: relation by relation, leaf by leaf, range by range. */
import { parseRelationName } from '@battlescope/database'
import { codeOf, type TaskContext } from '@battlescope/scheduler-core'
import type { CacheConfig } from './config.js'
import type { CacheCursor } from './cursor.js'
import { planRanges, type Found, type RowRange } from './plan.js'
import {
  deleteExpired,
  selectBoundaries,
  selectRelation,
  type Expiry,
  type RelationFacts,
  type TimeType,
} from './queries.js'

export type Context = TaskContext<CacheConfig, unknown, CacheCursor>

export interface RowsOutcome extends Pick<Found, 'relationProblems' | 'unindexed'> {
  /** Relations that exist. */
  readonly relations: number
  readonly unfinished: number
}

/** Batches that are looked for at once: one pass over the index for many short transactions. */
const batchesPerLook = 100
/** Rows of one time are not divided by it: then a statement takes up to this many batches, and more statements follow. */
const batchesPerStatement = 2

const timeTypes: readonly string[] = ['timestamptz', 'timestamp', 'date'] satisfies readonly TimeType[]

export async function deleteRows(context: Context, mayGoOn: () => boolean): Promise<RowsOutcome> {
  const outcome = {
    relations: 0,
    unfinished: 0,
    relationProblems: new Map<string, string>(),
    unindexed: new Set<string>(),
  }
  for (const { relation, column, after } of context.config.relations) {
    const name = parseRelationName(relation)
    const facts = await selectRelation(context.db, { ...name, column })
    if (facts === undefined) {
      context.logger.debug({ event: 'relation-missing', relation }, 'relation does not exist and is skipped')
      continue
    }
    outcome.relations += 1
    const problem = problemOf(facts, column)
    if (problem !== undefined) {
      outcome.relationProblems.set(relation, problem)
      continue
    }
    const horizon = new Date(context.clock.now().getTime() - after)
    let isFinished = true
    for (const leaf of facts.leaves) {
      const { schema, name: leafName, permitted, indexed } = leaf
      const expiry: Expiry = { schema, name: leafName, column, type: facts.columnType as TimeType, horizon }
      if (!permitted) {
        outcome.relationProblems.set(keyOf(expiry), 'SELECT, UPDATE and DELETE are needed')
        continue
      }
      const left = await deleteFromLeaf(context, expiry, mayGoOn)
      if (left.problem !== undefined) outcome.relationProblems.set(keyOf(expiry), left.problem)
      if (left.found && !indexed) outcome.unindexed.add(keyOf(expiry))
      isFinished &&= left.finished
    }
    if (!isFinished) outcome.unfinished += 1
  }
  return {
    relations: outcome.relations,
    unfinished: outcome.unfinished,
    relationProblems: [...outcome.relationProblems].map(([relation, problem]) => ({ relation, problem })),
    unindexed: [...outcome.unindexed],
  }
}

function problemOf({ kind, columnType }: RelationFacts, column: string): string | undefined {
  if (kind === 'other') return 'is neither a table nor a partitioned one'
  if (columnType === undefined) return `has no column ${column}`
  return timeTypes.includes(columnType) ? undefined : `${column} is ${columnType}, and no timestamp`
}

interface LeafOutcome {
  readonly finished: boolean
  /** Something had expired. */
  readonly found: boolean
  readonly problem?: string
}

async function deleteFromLeaf(context: Context, expiry: Expiry, mayGoOn: () => boolean): Promise<LeafOutcome> {
  const { rowBatchSize } = context.config
  const most = rowBatchSize * batchesPerLook
  for (let found = false; ; found = true) {
    if (!mayGoOn()) return { finished: false, found }
    const ranges = planRanges(await selectBoundaries(context.db, expiry, rowBatchSize, most))
    const expired = ranges.reduce((sum, { rows }) => sum + rows, 0)
    if (expired === 0) return { finished: true, found }
    if (context.dryRun) {
      await deleteRange(
        context,
        expiry,
        { after: undefined, upTo: '', rows: expired },
        expired === most ? ' or more' : '',
      )
      return { finished: true, found: true }
    }
    let deleted = 0
    for (const range of ranges) {
      const limit = rowBatchSize * batchesPerStatement
      let rows: number
      do {
        if (!mayGoOn()) return { finished: false, found: true }
        try {
          rows = await deleteRange(context, expiry, range, '')
        } catch (error) {
          const problem = problemOfRelation(error, context.signal)
          if (problem === undefined) throw error
          return { finished: true, found: true, problem }
        }
        deleted += rows
      } while (rows === limit)
    }
    // All expired rows were in these ranges, or all that are left are locked by others.
    if (expired < most || deleted === 0) return { finished: true, found: true }
  }
}

async function deleteRange(context: Context, expiry: Expiry, range: RowRange, more: string): Promise<number> {
  const target = keyOf(expiry)
  const effect = await context.act(
    { kind: 'delete-rows', target, reason: `${range.rows}${more} rows expired` },
    async ({ db }) => ({
      rows: await deleteExpired(db, expiry, range, context.config.rowBatchSize * batchesPerStatement),
    }),
  )
  context.metrics.count('rows_deleted', effect?.rows ?? 0, { relation: target })
  return effect?.rows ?? 0
}

/** What concerns one relation alone, by SQLSTATE; undefined for all else. */
function problemOfRelation(error: unknown, signal: AbortSignal): string | undefined {
  switch (codeOf(error)) {
    case '23503':
      return 'another relation still refers to its rows'
    case '42501':
      return 'permission denied'
    case '42P01':
      return 'was dropped meanwhile'
    case '55P03':
      return 'is locked by another session'
    case '57014':
      return signal.aborted ? undefined : 'one batch took too long'
    default:
      return undefined
  }
}

function keyOf({ schema, name }: Pick<Expiry, 'schema' | 'name'>): string {
  const quote = (identifier: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
  return `${quote(schema)}.${quote(name)}`
}
