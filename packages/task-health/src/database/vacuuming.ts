/** VACUUM that cannot keep up: identifiers that run out, and row versions that stay. */
import { duration, formatDuration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { showAge } from '../ages.js'
import { defineCheck, measured, type Found, type Needs } from '../check.js'
import { sharedReading } from './shared-reading.js'
import { selectVacuuming, type DeadRows, type HorizonHolder, type Vacuuming } from './vacuum-queries.js'

/** Without it others' snapshots are hidden, and nothing would seem to hold VACUUM back. */
const needs = (): Needs => ({ roles: ['pg_read_all_stats'] })

const readVacuuming = sharedReading(({ db }) => selectVacuuming(db))

/**
 * At 2^31 the server takes no more writes; at 40 million before that it warns in its own log.
 * https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
 */
const lastId = 2 ** 31

/** Milliseconds: nobody who came later than that is to blame for what autovacuum has not come to. */
const passingMs = 300_000

/**
 * Who keeps the dead rows of a table; undefined when nobody does: then VACUUM has not come since they died. Whoever was there already when it came last
 * is to blame; others only when they have been there for long.
 */
function keeperOf({ vacuumedForMs = 0 }: DeadRows, holders: readonly HorizonHolder[]): HorizonHolder | undefined {
  return holders.find(
    ({ ofCatalogs, forMs }) =>
      !ofCatalogs && (forMs === undefined || forMs >= passingMs || (vacuumedForMs > 0 && forMs >= vacuumedForMs)),
  )
}

function holderName({ kind, name, forMs }: HorizonHolder): string {
  return `the ${kind} ${name}${forMs === undefined ? '' : `, for ${showAge(forMs)}`}`
}

export const wraparound = defineCheck({
  key: 'wraparound',
  group: 'database',
  description:
    'Age of the oldest unfrozen transaction and multixact ids, against the age at which autovacuum freezes whatever else is set.',
  interval: 'every-run',
  severity: 'error',
  holdDownMs: 1_800_000,
  options: {
    factor: z
      .number()
      .min(1)
      .max(5)
      .default(1.5)
      .describe('Times autovacuum_freeze_max_age: by then forced freezing has not worked.'),
    critical: z
      .number()
      .min(0.2)
      .max(0.95)
      .default(0.7)
      .describe('Share of the 2^31 identifiers, from which on it is critical.'),
  },
  hint: 'find what holds VACUUM back (check vacuum-horizon), then VACUUM (FREEZE) the tables with the oldest relfrozenxid',
  needs,
  read: async (context) => measured(await readVacuuming(context)),
  judge: (reading, { factor, critical }) =>
    (['xid', 'multixact'] as const).flatMap((kind): Found[] => {
      const { database, age, freezeMaxAge } = reading[kind]
      const threshold = Math.min(freezeMaxAge * factor, lastId * critical)
      if (age < threshold) return []
      const [holder] = reading.holders
      return [
        {
          subject: kind,
          ...(age >= lastId * critical ? { severity: 'critical' as const } : {}),
          summary: `the oldest ${kind === 'xid' ? 'transaction' : 'multixact'} id of database ${database} is ${age} old, the threshold is ${Math.round(threshold)}; at ${lastId} nothing can be written any more`,
          details: { database, age, freezeMaxAge, ...(holder === undefined ? {} : { heldBy: holder }) },
        },
      ]
    }),
  gauges: ({ xid, multixact }) => ({ xid_age: xid.age, multixact_age: multixact.age }),
})

export const vacuumHorizon = defineCheck({
  key: 'vacuum-horizon',
  group: 'database',
  description:
    'What has kept VACUUM from removing anything for long: a session, a prepared transaction, a slot or a standby.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 0,
  options: {
    held: duration({ min: '1s' }).prefault('2h').describe('How long the horizon may be held, where the server knows.'),
    age: z
      .number()
      .int()
      .min(1)
      .default(10_000_000)
      .describe('Transactions that may have begun since, for a slot or a standby: those have no time.'),
  },
  hint: 'end the session, COMMIT or ROLLBACK PREPARED the transaction, drop the slot, or end the standby’s query',
  needs,
  read: async (context) => measured(await readVacuuming(context)),
  judge: ({ holders }, { held, age }) => {
    const long = holders.filter((holder) => (holder.forMs === undefined ? holder.age >= age : holder.forMs >= held))
    const [oldest] = long
    return oldest === undefined
      ? []
      : [
          {
            summary: `VACUUM removes nothing ${oldest.ofCatalogs ? 'from the system catalogs ' : ''}that died within the last ${oldest.age} transactions: ${holderName(oldest)} still sees it; the threshold is ${oldest.forMs === undefined ? `${age} transactions` : formatDuration(held)}`,
            details: { holders: long },
            dependsOn: ['health/long-transactions', 'health/idle-transactions'],
          },
        ]
  },
  gauges: ({ holders }) => ({ vacuum_horizon_age: holders[0]?.age ?? 0 }),
})

export const deadRows = defineCheck({
  key: 'dead-rows',
  group: 'database',
  description: 'Tables with many dead rows that autovacuum has not removed, and what holds it back, if anything does.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 3_600_000,
  options: {
    rows: z.number().int().min(1).default(100_000).describe('Dead rows that a table may have.'),
    ratio: z
      .number()
      .min(0.01)
      .max(10)
      .default(0.4)
      .describe('Dead rows for each live one that it may have: twice what autovacuum waits for by default.'),
  },
  hint: 'without a holder: is autovacuum on, and fast enough (autovacuum_vacuum_cost_limit)? The vacuum task helps at night',
  needs,
  read: async (context) => measured(await readVacuuming(context)),
  judge: ({ dead, holders }: Vacuuming, { rows, ratio }) => {
    return dead
      .filter((one) => one.deadRows >= rows && one.deadRows >= one.liveRows * ratio)
      .map((one): Found => {
        const { relation, deadRows: dead, liveRows, lastVacuumAt } = one
        const keeper = keeperOf(one, holders)
        return {
          subject: relation,
          summary: `${relation} has ${dead} dead rows beside ${liveRows} live ones, the threshold is ${rows} and ${ratio} for each; ${keeper === undefined ? 'nothing holds VACUUM back' : `VACUUM is held back by ${holderName(keeper)}`}`,
          details: { deadRows: dead, liveRows, lastVacuumAt: lastVacuumAt ?? null, heldBy: keeper ?? null },
        }
      })
  },
  gauges: ({ dead }) => ({ dead_rows_most: dead[0]?.deadRows ?? 0 }),
})
