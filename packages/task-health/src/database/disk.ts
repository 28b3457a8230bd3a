/** How full the disk is, and when it will be. */
import { duration, formatDuration, formatSize, size } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { defineCheck, measured } from '../check.js'
import { showBytes } from './bytes.js'
import { growthPerDay, type Sample } from './forecast.js'
import { selectClusterBytes } from './server-queries.js'

/** One a day. */
const samplesKept = 30
const dayMs = 86_400_000

export const diskForecast = defineCheck({
  key: 'disk-forecast',
  group: 'database',
  description:
    'Size of the databases against the capacity of their disk, and the day on which it is full at this rate. The server does not know its disk: without the option capacity that alone is found.',
  interval: 3_600_000,
  severity: 'error',
  holdDownMs: 0,
  options: {
    capacity: size({ min: '1MiB' }).optional().describe('What the volume of the data folder holds.'),
    ratio: z.number().min(0.1).max(1).default(0.8).describe('Share of the capacity, from which on it is found.'),
    ahead: duration({ min: '1d' }).prefault('14d').describe('How long before it is full a warning comes.'),
  },
  hint: 'enlarge the volume, or let retention take more; WAL and logs are on the same disk, and not counted here',
  memory: z.object({ samples: z.array(z.object({ day: z.number(), bytes: z.number() })) }),
  read: async (context) => {
    const bytes = await selectClusterBytes(context.db)
    const day = Math.floor(context.now.getTime() / dayMs)
    const before = (context.memory?.value as { samples: readonly Sample[] } | undefined)?.samples ?? []
    const samples = [...before.filter((sample) => sample.day !== day), { day, bytes }].slice(-samplesKept)
    return measured({ bytes, samples }, { samples: samples.map((sample) => ({ ...sample })) })
  },
  judge: ({ bytes, samples }, { capacity, ratio, ahead }) => {
    if (capacity === undefined) {
      // Never taken for fine; and samples are taken meanwhile.
      return [
        {
          subject: 'capacity',
          severity: 'info' as const,
          summary: `nobody said how large the disk is, of which the databases take ${showBytes(bytes)}: set diskForecast.capacity`,
          details: { bytes },
        },
      ]
    }
    const growth = growthPerDay(samples)
    const room = capacity - bytes
    const details = { bytes, capacity, bytesPerDay: growth ?? null }
    if (bytes >= capacity * ratio) {
      return [
        {
          subject: 'used',
          summary: `the databases take ${showBytes(bytes)} of ${formatSize(capacity)}, the threshold is ${Math.round(ratio * 100)} %`,
          details,
        },
      ]
    }
    const daysLeft = growth === undefined || growth <= 0 ? Infinity : room / growth
    return daysLeft * dayMs >= ahead
      ? []
      : [
          {
            subject: 'forecast',
            severity: 'warning' as const,
            summary: `at ${showBytes(growth ?? 0)} a day the disk is full in ${Math.max(0, Math.floor(daysLeft))} days, the threshold is ${formatDuration(ahead)}`,
            details,
          },
        ]
  },
  gauges: ({ bytes }) => ({ databases_bytes: bytes }),
})
