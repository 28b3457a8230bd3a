/** The server as a whole: what it reads from disk, how often it must make room for WAL, and how it is set. */
import { duration, size } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { showAge } from '../ages.js'
import { defineCheck, measured, type Found } from '../check.js'
import { showBytes } from './bytes.js'
import { averageWith, countersSchema, growthBetween, type Average } from './counters.js'
import { selectCounters, selectSettings, type Counters } from './server-queries.js'
import { harmfulSettings } from './harmful-settings.js'
import { sharedReading } from './shared-reading.js'

const readCounters = sharedReading(({ db, now }) => selectCounters(db, now))

const memory = z.object({
  counters: countersSchema,
  average: z.object({ perSecond: z.number(), overMs: z.number() }).optional(),
})

export const cacheMisses = defineCheck({
  key: 'cache-misses',
  group: 'database',
  description:
    'What is read from outside of shared buffers, against its own average: a ratio at one moment says nothing, a jump says that data no longer fit, or that a query lost its index.',
  interval: 'every-run',
  severity: 'info',
  holdDownMs: 3_600_000,
  options: {
    factor: z.number().min(1.5).max(100).default(4).describe('Times the average of the last days.'),
    floor: size({ min: '1KiB' }).prefault('8MiB').describe('Bytes per second that are never too many.'),
    warmUp: duration({ min: '5m' }).prefault('1d').describe('Time that the average must stand for.'),
  },
  hint: 'pg_stat_statements says which statement reads; EXPLAIN (ANALYZE, BUFFERS) why',
  memory,
  read: async (context) => {
    const counters = await readCounters(context)
    const before = context.memory?.value as { counters: Counters; average?: Average | undefined } | undefined
    const growth = growthBetween(before?.counters, counters)
    const average = growth === undefined ? before?.average : averageWith(before?.average, growth)
    return measured({ growth, average: before?.average }, { counters, ...(average === undefined ? {} : { average }) })
  },
  judge: ({ growth, average }, { factor, floor, warmUp }) => {
    if (growth === undefined || average === undefined || average.overMs < warmUp) return []
    const threshold = Math.max(floor, average.perSecond * factor)
    return growth.readBytesPerSecond < threshold
      ? []
      : [
          {
            summary: `${showBytes(growth.readBytesPerSecond)} a second were read from outside of shared buffers in the last ${showAge(growth.elapsedMs)}, ${showBytes(average.perSecond)} are the average and ${showBytes(threshold)} the threshold`,
            details: { ...growth, averageBytesPerSecond: average.perSecond },
          },
        ]
  },
  gauges: ({ growth }) => ({
    cache_read_bytes_per_second: growth?.readBytesPerSecond ?? 0,
    cache_miss_ratio: growth?.missRatio ?? 0,
  }),
})

export const checkpoints = defineCheck({
  key: 'checkpoints',
  group: 'database',
  description: 'Checkpoints that WAL forced, because max_wal_size was full before checkpoint_timeout.',
  // One of them proves nothing, and a day of them waits for tomorrow.
  interval: 3_600_000,
  severity: 'info',
  holdDownMs: 10_800_000,
  options: {
    perHour: z.number().min(1).max(3600).default(6).describe('Requested checkpoints per hour that are too many.'),
  },
  hint: 'raise max_wal_size until checkpoint_timeout decides: every checkpoint makes the next writes of each page whole pages',
  memory: z.object({ counters: countersSchema }),
  read: async (context) => {
    const counters = await readCounters(context)
    const before = (context.memory?.value as { counters: Counters } | undefined)?.counters
    const isComparable = before !== undefined && before.checkpointsResetAt === counters.checkpointsResetAt
    const elapsedMs = isComparable ? counters.atMs - before.atMs : 0
    const requested = isComparable ? counters.checkpointsRequested - before.checkpointsRequested : 0
    return measured({ elapsedMs, requested: Math.max(0, requested) }, { counters })
  },
  judge: ({ elapsedMs, requested }, { perHour }) => {
    // Within less than half an hour, two or three are chance.
    if (elapsedMs < 1_800_000) return []
    const rate = (requested * 3_600_000) / elapsedMs
    return rate < perHour
      ? []
      : [
          {
            summary: `${requested} checkpoints were requested in the last ${showAge(elapsedMs)}, the threshold is ${perHour} an hour`,
            details: { requested, elapsedMs },
          },
        ]
  },
})

export const harmful = defineCheck({
  key: 'settings',
  group: 'database',
  description: 'Settings of the server that lose data or let it decay.',
  interval: 3_600_000,
  severity: 'warning',
  holdDownMs: 0,
  options: {
    accepted: z.array(z.string()).default([]).describe('Settings that are meant to be as they are: not reported.'),
  },
  hint: 'ALTER SYSTEM SET …, then SELECT pg_reload_conf(); fsync and full_page_writes matter at the first power cut',
  read: async ({ db }) =>
    measured(
      await selectSettings(
        db,
        harmfulSettings.map(({ name }) => name),
      ),
    ),
  judge: (values, { accepted }) =>
    harmfulSettings
      .filter(({ name, harmful: value }) => values.get(name) === value && !accepted.includes(name))
      .map(({ name, harmful: value, severity, effect, source }): Found => ({
        subject: name,
        severity,
        summary: `${name} is ${value}: ${effect}`,
        details: { source },
      })),
})
