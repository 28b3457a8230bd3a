/** Whether killmails still come in, and how fresh they are. */
import { duration, formatDuration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { showAge } from '../ages.js'
import { defineCheck, measured, notApplicable, type CheckContext } from '../check.js'
import { awakeMs } from './downtime.js'
import { selectArrivals } from './queries.js'

/** Newest killmails that are looked at: more than come in an hour on a busy day (15 200 a day). */
const sample = 1000

function arrivals({ db, settings, relation }: CheckContext, since: Date) {
  return relation(settings.killmails).indexedColumns.has('killmail_id')
    ? selectArrivals(db, settings.killmails, since, sample)
    : notApplicable(`${settings.killmails} has no index on killmail_id, by which the newest could be found`)
}

const needs = ({ killmails }: CheckContext['settings']) => ({
  relations: [{ relation: killmails, columns: ['killmail_id', 'fetched_at', 'occurred_at'] }],
})

export const ingestionStalled = defineCheck({
  key: 'ingestion-stalled',
  group: 'queues',
  description: 'Whether no killmail has come in for long, the daily downtime of EVE left out.',
  interval: 'every-run',
  severity: 'error',
  // The threshold is the hold-down: one quiet spell is one reading.
  holdDownMs: 0,
  options: {
    silence: duration({ min: '1m' })
      .prefault('10m')
      .describe('Time without a new killmail, from which on it is found.'),
    downtimeStart: duration({ min: '0s', max: '1d' })
      .prefault('11h')
      .describe('When the downtime begins: the time after midnight UTC.'),
    downtimeLength: duration({ min: '0s', max: '12h' })
      .prefault('30m')
      .describe('How long it lasts, until pilots are back. 0s: there is none.'),
  },
  hint: 'does ingest run, and does zKillboard send anything? Its queue may be down as well',
  needs,
  read: async (context, { downtimeStart, downtimeLength }) => {
    const { now } = context
    const read = await arrivals(context, now)
    if ('outcome' in read) return read
    if (read.newestAt === undefined) return notApplicable(`${context.settings.killmails} is empty`)
    return measured({
      silentMs: awakeMs(read.newestAt, now, { startMs: downtimeStart, lengthMs: downtimeLength }),
      newestAt: read.newestAt,
    })
  },
  judge: ({ silentMs, newestAt }, { silence }) =>
    silentMs < silence
      ? []
      : [
          {
            summary: `no killmail has come in for ${showAge(silentMs)}, the threshold is ${formatDuration(silence)}`,
            details: { newestAt: newestAt.toISOString() },
          },
        ],
  gauges: ({ silentMs }) => ({ ingestion_silence_seconds: silentMs / 1000 }),
})

export const ingestionLag = defineCheck({
  key: 'ingestion-lag',
  group: 'queues',
  description: 'How old killmails are when they come in, for 95 % of the newest: what zKillboard takes is part of it.',
  interval: 'every-run',
  // The level is ingest's own; what is measured includes pilots and zKillboard, who nobody here can wake.
  severity: 'info',
  holdDownMs: 1_800_000,
  options: {
    lag: duration({ min: '1s' }).prefault('10s').describe('Age on arrival that 95 % must stay below.'),
    window: duration({ min: '5m' }).prefault('1h').describe('Killmails that came in within this time count.'),
    fewest: z.number().int().min(1).default(20).describe('How many there must be for a percentile to mean anything.'),
  },
  hint: 'compare with the delay of zKillboard itself; what is beyond it is ingest',
  needs,
  read: async (context, { window }) => {
    const read = await arrivals(context, new Date(context.now.getTime() - window))
    return 'outcome' in read ? read : measured(read)
  },
  judge: ({ recent, p95LagMs }, { lag, fewest, window }) =>
    recent < fewest || p95LagMs < lag
      ? []
      : [
          {
            summary: `5 % of the killmails of the last ${formatDuration(window)} were older than ${showAge(p95LagMs)} when they came in, the threshold is ${formatDuration(lag)}`,
            details: { recent, p95LagMs: Math.round(p95LagMs) },
          },
        ],
  gauges: ({ p95LagMs }) => ({ ingestion_lag_p95_seconds: p95LagMs / 1000 }),
})
