/** Enrichments as PostgreSQL has them: those that wait, those that are stuck, and those that failed. */
import { duration, formatDuration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { showAge } from '../ages.js'
import { defineCheck, measured, notApplicable, type CheckContext } from '../check.js'
import {
  selectNewestEnrichments,
  selectPendingEnrichments,
  selectStuckEnrichments,
  selectUnqueuedKillmails,
  type Waiting,
} from './queries.js'

/** What explains them all: then nobody works. */
const queueFindings = ['health/queue-age', 'health/queue-depth:paused']

/** Without the index, a count would read the whole relation, and its wide rows. */
function unindexed({ relation, settings }: CheckContext) {
  const name = settings.enrichments
  return relation(name).indexedColumns.has('status')
    ? undefined
    : notApplicable(`${name} has no index on status, by which its waiting rows could be counted`)
}

export const enrichmentBacklog = defineCheck({
  key: 'enrichment-backlog',
  group: 'queues',
  description: 'Killmails whose enrichment is pending.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 900_000,
  options: {
    rows: z
      .number()
      .int()
      .min(1)
      .max(10_000)
      .default(1000)
      .describe('Pending enrichments, from which on it is found; no more than 10000 are counted.'),
  },
  hint: 'does the enrichment service run, and do jobs come into its queue?',
  needs: ({ enrichments }) => ({ relations: [{ relation: enrichments, columns: ['status', 'created_at'] }] }),
  read: async (context) =>
    unindexed(context) ??
    measured({ ...(await selectPendingEnrichments(context.db, context.settings.enrichments)), now: context.now }),
  judge: ({ now, ...pending }, { rows }) =>
    pending.rows < rows
      ? []
      : [
          {
            summary: `${countOf(pending)} enrichments are pending, the threshold is ${rows}`,
            details: { rows: pending.rows, oldest: ageOf(pending, now) },
            dependsOn: queueFindings,
          },
        ],
  gauges: ({ rows }) => ({ enrichments_pending: rows }),
})

export const enrichmentStuck = defineCheck({
  key: 'enrichment-stuck',
  group: 'queues',
  description:
    'Enrichments that are pending or processing, and that nobody has touched for long: nothing sweeps them up.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 0,
  options: {
    age: duration({ min: '1m' }).prefault('1h').describe('How long an enrichment may stay as it is.'),
    rows: z.number().int().min(1).max(10_000).default(1).describe('Such enrichments, from which on it is found.'),
  },
  hint: "queue their killmails again: UPDATE … SET status = 'pending', and add a job for each",
  needs: ({ enrichments }) => ({ relations: [{ relation: enrichments, columns: ['status', 'updated_at'] }] }),
  read: async (context, { age }) => {
    const since = new Date(context.now.getTime() - age)
    const problem = unindexed(context)
    if (problem !== undefined) return problem
    return measured({
      ...(await selectStuckEnrichments(context.db, context.settings.enrichments, since)),
      now: context.now,
    })
  },
  judge: ({ now, ...stuck }, { rows, age }) =>
    stuck.rows < rows
      ? []
      : [
          {
            summary: `${countOf(stuck)} enrichments have been pending or processing for longer than ${formatDuration(age)}, the oldest for ${ageOf(stuck, now)}`,
            details: { rows: stuck.rows },
            dependsOn: queueFindings,
          },
        ],
  gauges: ({ rows }) => ({ enrichments_stuck: rows }),
})

export const enrichmentFailures = defineCheck({
  key: 'enrichment-failures',
  group: 'queues',
  description: 'The share of failed enrichments among those of the newest killmails.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 300_000,
  options: {
    ratio: z.number().gt(0).max(1).default(0.05).describe('Share of failed ones, from which on it is found.'),
    sample: z.number().int().min(100).max(10_000).default(1000).describe('Newest enrichments that are looked at.'),
    fewest: z
      .number()
      .int()
      .min(1)
      .default(50)
      .describe('Of these, how many must be finished for a share to mean anything.'),
  },
  hint: "read their errors: SELECT error, count(*) … WHERE status = 'failed' GROUP BY 1",
  needs: ({ enrichments }) => ({ relations: [{ relation: enrichments, columns: ['killmail_id', 'status'] }] }),
  read: async ({ db, settings, relation }, { sample }) =>
    relation(settings.enrichments).indexedColumns.has('killmail_id')
      ? measured(await selectNewestEnrichments(db, settings.enrichments, sample))
      : notApplicable(`${settings.enrichments} has no index on killmail_id, by which the newest could be found`),
  judge: ({ rows, failed }, { ratio, fewest }) => {
    if (rows < fewest || failed < ratio * rows) return []
    const share = Math.round((failed / rows) * 1000) / 10
    const summary = `${failed} of the newest ${rows} finished enrichments failed (${share} %), the threshold is ${ratio * 100} %`
    return [{ summary, details: { rows, failed } }]
  },
  gauges: ({ rows, failed }) => ({ enrichments_failed_ratio: rows === 0 ? 0 : failed / rows }),
})

export const enrichmentMissing = defineCheck({
  key: 'enrichment-missing',
  group: 'queues',
  description: 'Killmails among the newest that have no enrichment at all.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 600_000,
  options: {
    age: duration({ min: '1m' }).prefault('15m').describe('How long after its arrival a killmail must have one.'),
    rows: z.number().int().min(1).default(10).describe('Such killmails, from which on it is found.'),
    sample: z.number().int().min(100).max(10_000).default(1000).describe('Newest killmails that are looked at.'),
  },
  hint: 'ingest saved killmails without queueing them: was Redis away? Queue them again',
  needs: ({ killmails, enrichments }) => ({
    relations: [
      { relation: killmails, columns: ['killmail_id', 'fetched_at'] },
      { relation: enrichments, columns: ['killmail_id'] },
    ],
  }),
  read: async ({ db, settings, relation, now }, { age, sample }) => {
    const without = [settings.killmails, settings.enrichments].find(
      (name) => !relation(name).indexedColumns.has('killmail_id'),
    )
    if (without !== undefined) return notApplicable(`${without} has no index on killmail_id`)
    const before = new Date(now.getTime() - age)
    return measured({ ...(await selectUnqueuedKillmails(db, settings, before, sample)), now })
  },
  judge: ({ now, ...missing }, { rows, age, sample }) =>
    missing.rows < rows
      ? []
      : [
          {
            summary: `${missing.rows} of the newest ${sample} killmails have no enrichment ${formatDuration(age)} after their arrival, the oldest for ${ageOf(missing, now)}`,
            details: { rows: missing.rows },
          },
        ],
})

function countOf({ rows, isCapped }: Waiting): string {
  return isCapped ? `${rows} or more` : String(rows)
}

function ageOf({ oldestAt }: Waiting, now: Date): string {
  return showAge(oldestAt === undefined ? 0 : Math.max(0, now.getTime() - oldestAt.getTime()))
}
