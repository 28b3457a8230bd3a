/** Standbys that fall behind, and slots that keep WAL for nobody. */
import { duration, formatDuration, formatSize, size } from '@battlescope/scheduler-core'
import { showAge } from '../ages.js'
import { defineCheck, measured, type Found, type Needs } from '../check.js'
import { showBytes } from './bytes.js'
import { selectReplication } from './replication-queries.js'
import { sharedReading } from './shared-reading.js'

/** Without it the positions of standbys are NULL. */
const needs = (): Needs => ({ roles: ['pg_read_all_stats'] })

const readReplication = sharedReading(({ db }) => selectReplication(db))

export const replicationLag = defineCheck({
  key: 'replication-lag',
  group: 'database',
  description:
    'Standbys that are behind, in WAL and in time. One that is gone is not seen: its slot is, where it has one.',
  interval: 'every-run',
  severity: 'error',
  holdDownMs: 300_000,
  options: {
    lag: duration({ min: '1s' }).prefault('5m').describe('How old what a standby replays may be.'),
    wal: size({ min: '1KiB' }).prefault('256MiB').describe('WAL that a standby may be behind.'),
  },
  hint: 'is it busy, paused (pg_wal_replay_pause) or held up by a query of its own? Is the network slow?',
  needs,
  read: async (context) => measured(await readReplication(context)),
  judge: ({ standbys }, { lag, wal }) =>
    standbys.flatMap(({ name, state, lagBytes = 0, lagMs = 0 }): Found[] =>
      lagBytes < wal && lagMs < lag
        ? []
        : [
            {
              subject: name,
              summary: `standby ${name} is behind by ${showBytes(lagBytes)} of WAL and ${showAge(lagMs)}, the thresholds are ${formatSize(wal)} and ${formatDuration(lag)}`,
              details: { state, lagBytes, lagMs },
            },
          ],
    ),
  gauges: ({ standbys }) => ({ replication_lag_bytes: Math.max(0, ...standbys.map(({ lagBytes = 0 }) => lagBytes)) }),
})

export const replicationSlots = defineCheck({
  key: 'replication-slots',
  group: 'database',
  description: 'Slots that nobody uses, or for which much WAL is kept: they fill the disk, and hold back VACUUM.',
  interval: 'every-run',
  severity: 'warning',
  // A standby that is restarted leaves its slot for minutes.
  holdDownMs: 1_800_000,
  options: {
    wal: size({ min: '1MiB' }).prefault('4GiB').describe('WAL that may be kept for a slot, in use or not.'),
  },
  hint: 'does its consumer still exist? If not: SELECT pg_drop_replication_slot(name); max_slot_wal_keep_size limits the damage',
  read: async (context) => measured(await readReplication(context)),
  judge: ({ slots }, { wal }) =>
    slots.flatMap(({ name, kind, isActive, keptBytes = 0, walStatus }): Found[] => {
      const isLost = walStatus === 'lost' || walStatus === 'unreserved'
      if (isActive && keptBytes < wal && !isLost) return []
      const severe = isLost || keptBytes >= wal
      const kept = `${showBytes(keptBytes)} of WAL are kept for it`
      return [
        {
          subject: name,
          ...(severe ? { severity: 'error' as const } : {}),
          summary: `the ${kind} slot ${name} is ${isActive ? 'in use' : 'not in use'}; ${isLost ? `its WAL is ${walStatus}` : `${kept}, the threshold is ${formatSize(wal)}`}`,
          details: { kind, isActive, keptBytes, walStatus },
        },
      ]
    }),
  gauges: ({ slots }) => ({
    replication_slots_inactive: slots.filter(({ isActive }) => !isActive).length,
    replication_slot_wal_bytes: Math.max(0, ...slots.map(({ keptBytes = 0 }) => keptBytes)),
  }),
})
