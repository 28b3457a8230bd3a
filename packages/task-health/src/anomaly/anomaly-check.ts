/** One check for each metric: reads its baseline and its newest slots, judges, and keeps what was learned. */
import { duration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { showAge } from '../ages.js'
import { defineCheck, measured, notApplicable } from '../check.js'
import { valuesPerBucket, type Baseline } from './baseline.js'
import { advance, type Advance, type DetectorOptions, type DetectorState, type Slot } from './detector.js'
import { memorySchema, type Metric } from './metrics.js'
import { recordAdvance, selectStored } from './queries.js'

export const stateSchema: z.ZodType<DetectorState> = z.object({
  lastSlotMs: z.number(),
  recent: z.array(z.object({ index: z.number(), value: z.number(), expected: z.number() })),
  level: z.number(),
  pending: z.array(z.object({ startMs: z.number(), sum: z.number(), slots: z.number() })),
  anomaly: z
    .object({
      direction: z.enum(['low', 'high']),
      sinceMs: z.number(),
      ratios: z.array(z.number()),
      ratioHourMs: z.number(),
    })
    .optional(),
})

interface Reading {
  readonly now: Date
  readonly before: DetectorState | undefined
  readonly baseline: Baseline
  readonly slots: readonly Slot[]
}

export function anomalyCheck(metric: Metric) {
  const options = {
    floor: z.number().min(1).default(metric.floor.value).describe(metric.floor.description),
    warmUpWeeks: z
      .number()
      .int()
      .min(2)
      .max(valuesPerBucket)
      .default(3)
      .describe('Weeks that an hour of the week must have been seen for a verdict.'),
    sensitivity: z
      .number()
      .min(2)
      .max(20)
      .default(5)
      .describe('Robust standard deviations between usual and odd. Less finds more, and raises more false alarms.'),
    downtimeStart: duration({ min: '0s', max: '1d' })
      .prefault('11h')
      .describe('When the downtime of EVE begins, the time after midnight UTC: nothing is judged nor learned in it.'),
    downtimeLength: duration({ min: '0s', max: '12h' })
      .prefault(metric.followsGame ? '45m' : '0s')
      .describe('How long that lasts, until pilots are back. 0s: there is none.'),
  }
  type Options = Readonly<z.output<z.ZodObject<typeof options>>>
  const judgeSlots = ({ before, baseline, slots }: Reading, given: Options): Advance | undefined =>
    advance(before, baseline, slots, detectorOptions(metric, given))

  return defineCheck({
    key: metric.key,
    group: 'anomalies',
    description: metric.description,
    interval: 'every-run',
    severity: 'warning',
    // The windows are the hold-down: a finding is a quarter of an hour, or an hour, already.
    holdDownMs: 0,
    options,
    hint: metric.hint,
    ...(metric.needs === undefined ? {} : { needs: metric.needs }),
    memory: memorySchema,
    read: async (context) => {
      if (context.stateSchema === undefined) return notApplicable("the scheduler's tables were not made yet")
      const observed = await metric.observe(context)
      if ('outcome' in observed) return observed
      const { state, baseline } = await selectStored(context.db, context.stateSchema, metric.key, stateSchema)
      return measured({ now: context.now, before: state, baseline, slots: observed.slots }, observed.memory)
    },
    judge: (reading: Reading, given) => {
      const judged = judgeSlots(reading, given)
      // Without a new slot that can be judged (two runs within one, the downtime, a gap) what was open stays open.
      const open = (judged?.state ?? reading.before)?.anomaly
      if (open === undefined) return []
      const verdict = judged?.verdict
      const seen = verdict?.kind === open.direction ? verdict.measured : undefined
      const { direction: kind, sinceMs } = open
      const since = `since ${new Date(sinceMs).toISOString().slice(0, 16)}Z`
      const numbers =
        seen === undefined
          ? ''
          : `: ${rounded(seen.value)} ${metric.what} ${metric.unit} in the last ${showAge(seen.windowMs)}, ${rounded(seen.expected)} are usual at this hour of the week`
      return [
        {
          subject: kind,
          summary: `unusually ${kind === 'low' ? 'few' : 'many'} ${since}${numbers}`,
          details: { since: new Date(sinceMs).toISOString(), ...seen },
          ...(metric.dependsOn === undefined ? {} : { dependsOn: metric.dependsOn }),
        },
      ]
    },
    record: async ({ db, stateSchema: schema }, reading: Reading, given) => {
      const judged = judgeSlots(reading, given)
      if (judged !== undefined) await recordAdvance(db, schema, metric.key, reading.before, judged)
    },
  })
}

function detectorOptions(
  metric: Metric,
  options: {
    readonly floor: number
    readonly warmUpWeeks: number
    readonly sensitivity: number
    readonly downtimeStart: number
    readonly downtimeLength: number
  },
): DetectorOptions {
  const { floor, warmUpWeeks, sensitivity, downtimeStart, downtimeLength } = options
  return {
    direction: metric.direction,
    floor,
    warmUpWeeks,
    sensitivity,
    minSlots: metric.minSlots,
    quiet: downtimeLength === 0 ? [] : [{ fromMs: downtimeStart, lastsMs: downtimeLength }],
  }
}

function rounded(value: number): string {
  return value >= 10 ? Math.round(value).toString() : value.toFixed(1)
}
