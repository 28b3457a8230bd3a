/** What one run leaves for the next. Pure. */
import { z } from 'zod'
import type { Day } from './days.js'
import { rollupNames, type RollupName } from './rollups.js'

/** Instants and days are text. */
export interface Cursor {
  /** Rollups that were counted from end to end. */
  readonly counted: readonly RollupName[]
  /** The way through all days that is going on, from the newest to the oldest. */
  readonly sweep: Sweep | null
  /** When the last one that ended had begun. */
  readonly sweptAt: string | null
  /** The triggers with which everything was counted: their notes tell of every change since. */
  readonly exactSince: string | null
  /** How often slices were halved, because one took too long. */
  readonly halvings: number
}

export interface Sweep {
  readonly startedAt: string
  /** Days before this one are still to come. */
  readonly before: Day
  /** The first count of rollups, or after triggers were installed: at full speed, and without comparing first. */
  readonly full: boolean
  readonly rollups: readonly RollupName[]
  readonly triggers: string | null
}

export const emptyCursor: Cursor = { counted: [], sweep: null, sweptAt: null, exactSince: null, halvings: 0 }

/** Halving twenty times makes any slice a day. */
export const mostHalvings = 20

export const cursorSchema: z.ZodType<Cursor> = z.object({
  counted: z.array(z.enum(rollupNames)),
  sweep: z
    .object({
      startedAt: z.string(),
      before: z.string(),
      full: z.boolean(),
      rollups: z.array(z.enum(rollupNames)),
      triggers: z.string().nullable(),
    })
    .nullable(),
  sweptAt: z.string().nullable(),
  exactSince: z.string().nullable(),
  halvings: z.number().int().min(0).max(mostHalvings),
})
