/** What the checks of integrity share: their options, their memory, and how a sample is judged. */
import { z } from 'zod'
import { measured, notApplicable, type CheckContext, type Found, type NeededRelation, type Outcome } from '../check.js'
import type { HealthSettings } from '../settings.js'
import type { Sample, Sampled } from './queries.js'

/** Milliseconds between two looks: the service level. */
export const integrityInterval = 6 * 3_600_000
/** Keys that a finding names. */
const mostNamed = 10
/** Milliseconds in which a new battle is left alone: it is written in several steps. */
const settlingMs = 600_000

const rows = z.number().int().min(1).default(1).describe('How many of the sample must be wrong, for it to be found.')
const newest = z
  .number()
  .int()
  .min(1)
  .max(20_000)
  .default(2000)
  .describe('Newest killmails that are looked at, or whose battles are.')

export const battleOptions = {
  rows,
  newest,
  window: z
    .number()
    .int()
    .min(1)
    .max(20_000)
    .default(500)
    .describe('Battles of the moving window: so many more in each look, until all had their turn.'),
}

export const rowOptions = {
  rows,
  window: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(5000)
    .describe('Rows of the moving window: so many more in each look, until all had their turn.'),
}

export const newestOptions = { rows, newest }

/** Where the next window begins, and what is looked at again. */
export const position = z.object({ after: z.string().optional(), wrong: z.array(z.string()) })
export type Position = z.output<typeof position>

export function sampleOf(
  { memory, now }: CheckContext<Position>,
  { newest, window }: { readonly newest: number; readonly window: number },
): Sample {
  const settledBefore = new Date(now.getTime() - settlingMs)
  return { newest, window, ...lastLook(memory), settledBefore }
}

export function lastLook(memory: CheckContext<Position>['memory']): Pick<Sample, 'after' | 'remembered'> {
  return { after: memory?.value.after, remembered: memory?.value.wrong ?? [] }
}

export function outcomeOf(sampled: Sampled): Outcome<Sampled, Position> {
  return measured(sampled, { wrong: [...sampled.keys], ...(sampled.next === undefined ? {} : { after: sampled.next }) })
}

/** An index whose first column is not this one makes every look a scan of the relation: then better none. */
export function unindexed(
  { relation }: CheckContext<Position>,
  wanted: readonly (readonly [relation: string, column: string])[],
): Outcome<never, never> | undefined {
  const [missing] = wanted.filter(([name, column]) => !relation(name).indexedColumns.has(column))
  return (
    missing && notApplicable(`${missing[0]} has no index that begins with ${missing[1]}: a look would read all of it`)
  )
}

export function battleNeeds({ battles, killmails }: HealthSettings): readonly NeededRelation[] {
  return [
    { relation: battles, columns: ['id', 'total_kills', 'total_isk_destroyed', 'created_at'] },
    { relation: killmails, columns: ['killmail_id', 'battle_id'] },
  ]
}

export function battleIndexes({ battles, killmails }: HealthSettings): readonly (readonly [string, string])[] {
  return [
    [battles, 'id'],
    [killmails, 'killmail_id'],
  ]
}

export function judgeSample(
  { looked, wrong, keys }: Sampled,
  { rows }: { readonly rows: number },
  { nouns, problem }: { readonly nouns: string; readonly problem: string },
): readonly Found[] {
  if (wrong < rows) return []
  const found = {
    summary: `${wrong} of ${looked} sampled ${nouns} ${problem}`,
    details: { looked, wrong, examples: keys.slice(0, mostNamed) },
  }
  return [found]
}
