/** The metrics that are watched: where each value comes from, and in which direction it is odd. */
import { z } from 'zod'
import type { CheckContext, Needs, Outcome } from '../check.js'
import { notApplicable } from '../check.js'
import type { HealthSettings } from '../settings.js'
import { selectPendingEnrichments } from '../queues/queries.js'
import { hourMs, slotMs, slotsPerHour } from './baseline.js'
import type { Direction, Slot } from './detector.js'
import { selectArrivalSlots, selectBattleSlots, selectDatabaseBytes, selectRunSlots } from './queries.js'

/** What came in just before a slot ended may not be visible yet. */
const settlingMs = 30_000
/** Growth over a longer time says nothing about an hour of the week. */
const longestGrowthMs = hourMs

export interface Observed {
  readonly slots: readonly Slot[]
  readonly memory?: Memory | undefined
}

/** Of a metric that is the difference of two readings. */
export const memorySchema = z.object({ bytes: z.number() })
export type Memory = z.output<typeof memorySchema>

export interface Metric {
  readonly key: string
  readonly description: string
  /** In a sentence: `killmails that came in`. */
  readonly what: string
  /** Behind the number: `per hour`. */
  readonly unit: string
  readonly direction: Direction
  readonly floor: { readonly value: number; readonly description: string }
  /** Slots out of the twelve of an hour, before the hour is judged. One value a run may come every quarter of an hour only. */
  readonly minSlots: number
  /** Whether the game's downtime shows in it. */
  readonly followsGame: boolean
  readonly hint: string
  /** Findings that explain this one. */
  readonly dependsOn?: readonly string[]
  readonly needs?: (settings: HealthSettings) => Needs
  readonly observe: (context: CheckContext<Memory>) => Promise<Observed | Outcome<never, never>>
}

/** The last hour's completed slots, as they are in the data: a run that is late, or did not happen, changes none of them. */
function completedSlots(now: Date): { readonly fromMs: number; readonly untilMs: number } {
  const untilMs = Math.floor((now.getTime() - settlingMs) / slotMs) * slotMs
  return { fromMs: untilMs - slotsPerHour * slotMs, untilMs }
}

const slotAt = (now: Date, value: number): Slot => ({ startMs: Math.floor(now.getTime() / slotMs) * slotMs, value })

/** Of twelve: some may be unknown. */
const mostSlots = 9
const fewSlots = 3

export const metrics: readonly Metric[] = [
  {
    key: 'ingestion-anomaly',
    description: 'Killmails that come in, against what is usual at this hour of the week.',
    what: 'killmails came in',
    unit: 'per hour',
    direction: 'low',
    floor: { value: 20, description: 'Killmails that must be usual within the window (15 min, 1 h) for a verdict.' },
    minSlots: mostSlots,
    followsGame: true,
    hint: 'does ingest run, and is zKillboard complete? Compare with its front page',
    dependsOn: ['health/ingestion-stalled'],
    needs: ({ killmails }) => ({ relations: [{ relation: killmails, columns: ['killmail_id', 'fetched_at'] }] }),
    observe: async ({ db, settings: { killmails }, relation, now }) => {
      if (!relation(killmails).indexedColumns.has('killmail_id')) {
        return notApplicable(`${killmails} has no index on killmail_id, by which the newest could be found`)
      }
      const { fromMs, untilMs } = completedSlots(now)
      return { slots: await selectArrivalSlots(db, killmails, fromMs, untilMs) }
    },
  },
  {
    key: 'battles-anomaly',
    description: 'Battles that clustering makes or adds to, against what is usual at this hour of the week.',
    what: 'battles were made or added to',
    unit: 'per hour',
    direction: 'low',
    floor: { value: 40, description: 'Battles that must be usual within the window (15 min, 1 h) for a verdict.' },
    minSlots: mostSlots,
    followsGame: false,
    hint: 'are killmails clustered into battles at all? Look at those with processed_at and without battle_id',
    dependsOn: ['health/clustering-lag', 'health/ingestion-anomaly', 'health/ingestion-stalled'],
    needs: ({ killmails }) => ({ relations: [{ relation: killmails, columns: ['processed_at', 'battle_id'] }] }),
    observe: async ({ db, settings: { killmails }, relation, now }) => {
      if (!relation(killmails).indexedColumns.has('processed_at')) {
        return notApplicable(`${killmails} has no index on processed_at, by which the last hour could be found`)
      }
      const { fromMs, untilMs } = completedSlots(now)
      return { slots: await selectBattleSlots(db, killmails, fromMs, untilMs) }
    },
  },
  {
    key: 'queue-anomaly',
    description: 'Enrichments that are pending, against what is usual at this hour of the week.',
    what: 'enrichments are pending',
    unit: 'on average',
    direction: 'high',
    floor: { value: 300, description: 'Pending enrichments that are never too many.' },
    minSlots: fewSlots,
    followsGame: false,
    hint: 'does the enrichment service keep up, or does zKillboard or ESI throttle it?',
    dependsOn: ['health/enrichment-backlog'],
    needs: ({ enrichments }) => ({ relations: [{ relation: enrichments, columns: ['status', 'created_at'] }] }),
    observe: async ({ db, settings: { enrichments }, relation, now }) => {
      if (!relation(enrichments).indexedColumns.has('status')) {
        return notApplicable(`${enrichments} has no index on status, by which its waiting rows could be counted`)
      }
      return { slots: [slotAt(now, (await selectPendingEnrichments(db, enrichments)).rows)] }
    },
  },
  {
    key: 'growth-anomaly',
    description: 'How fast the database grows, against what is usual at this hour of the week.',
    what: 'MiB were added to the database',
    unit: 'per hour',
    direction: 'high',
    floor: { value: 256, description: 'MiB per hour that are never too many.' },
    minSlots: fewSlots,
    followsGame: false,
    hint: 'which relation grows? The statistics task keeps sizes by day; bloat grows where autovacuum cannot work',
    observe: async ({ db, now, memory }) => {
      const bytes = await selectDatabaseBytes(db)
      const elapsedMs = memory === undefined ? 0 : now.getTime() - memory.at.getTime()
      const isComparable = memory !== undefined && elapsedMs > 0 && elapsedMs <= longestGrowthMs
      // What was dropped or truncated is no negative growth: it makes room.
      const mib = isComparable ? Math.max(0, bytes - memory.value.bytes) / 1024 ** 2 : 0
      return { slots: isComparable ? [slotAt(now, (mib * hourMs) / elapsedMs)] : [], memory: { bytes } }
    },
  },
  {
    key: 'run-duration-anomaly',
    description: "How long the scheduler's own runs take, against what is usual at this hour of the week.",
    what: 'seconds were taken by a run',
    unit: 'on average',
    direction: 'high',
    floor: { value: 20, description: 'Seconds that are never too many.' },
    minSlots: fewSlots,
    followsGame: false,
    hint: 'which task takes the time? `history` says',
    observe: async ({ db, stateSchema }) => {
      if (stateSchema === undefined) return notApplicable("the scheduler's tables were not made yet")
      return { slots: await selectRunSlots(db, stateSchema) }
    },
  },
]
