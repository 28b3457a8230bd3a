/** The clock of the machine that this process runs on, against the database's. */
import { duration } from '@battlescope/scheduler-core'
import { defineCheck, measured } from '../check.js'
import { selectClock } from './server-queries.js'

interface Reading {
  /** Milliseconds that the database is ahead of this machine. */
  readonly aheadMs: number
  /** Milliseconds by which that may be off: the database answered somewhere between question and answer. */
  readonly uncertaintyMs: number
}

export const clockSkew = defineCheck({
  key: 'clock-skew',
  group: 'database',
  description:
    'The clock of the database against that of the machine on which the scheduler runs. Half the round trip is the uncertainty, and only what is beyond it counts.',
  interval: 3_600_000,
  severity: 'warning',
  holdDownMs: 0,
  options: {
    limit: duration({ min: '100ms' }).prefault('5s').describe('How far the clocks may be apart.'),
  },
  hint: 'one of the two machines is not synchronised: chronyc tracking or timedatectl on both. The scheduler goes by the database; logs, TLS and the signatures of S3 do not',
  read: async ({ db, hostNow, monotonicMs }) => {
    const hostAtMs = hostNow().getTime()
    const startedMs = monotonicMs()
    const databaseAtMs = await selectClock(db)
    const uncertaintyMs = (monotonicMs() - startedMs) / 2
    const reading: Reading = { aheadMs: databaseAtMs - (hostAtMs + uncertaintyMs), uncertaintyMs }
    return measured(reading)
  },
  judge: ({ aheadMs, uncertaintyMs }: Reading, { limit }) => {
    const [apartMs, offMs] = [Math.abs(aheadMs), uncertaintyMs].map(Math.round) as [number, number]
    return apartMs - offMs <= limit
      ? []
      : [
          {
            summary: `the clock of the database is ${apartMs} ms ${aheadMs > 0 ? 'ahead of' : 'behind'} this machine's, give or take ${offMs} ms; ${limit} ms are allowed`,
            details: { aheadMs: Math.round(aheadMs), uncertaintyMs: offMs },
          },
        ]
  },
  gauges: ({ aheadMs }) => ({ clock_skew_seconds: aheadMs / 1000 }),
})
