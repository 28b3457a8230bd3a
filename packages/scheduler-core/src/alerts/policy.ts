/** How alerts behave: when they open, how often people hear of them, when they are over. */
import { z } from 'zod'
import { duration } from '../option-types.js'
import type { Severity } from '../task.js'

/** Options of the section `alerts` that belong to no provider: spread its `shape` beside those that do. */
export const alertPolicyOptions = z.object({
  installation: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/)
    .optional()
    .describe(
      'Names this database in the key of every alert, such as production. Set it where a copy of the database has a scheduler, too.',
    ),
  holdDown: z.object({
    info: duration({ min: '0s' })
      .prefault('15m')
      .describe('How long a finding of severity info must last before it fires.'),
    warning: duration({ min: '0s' }).prefault('5m').describe('The same for warning.'),
    error: duration({ min: '0s' }).prefault('0s').describe('The same for error.'),
    critical: duration({ min: '0s' }).prefault('0s').describe('The same for critical.'),
  }),
  resolveAfter: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(2)
    .describe(
      'Good runs of a task in a row until its alert is resolved. A task that runs hourly or less often needs one.',
    ),
  reminderInterval: duration({ min: '5m' })
    .prefault('4h')
    .describe('People are called again by an alert that still fires, at most this often.'),
  updateInterval: duration({ min: '1m' })
    .prefault('30m')
    .describe('A changed summary is told at most this often. A changed severity is told at once.'),
  grace: duration({ min: '0s' })
    .prefault('15m')
    .describe('After the first sight of a task only its critical findings fire.'),
  flapping: z.object({
    openings: z
      .number()
      .int()
      .min(2)
      .max(20)
      .default(4)
      .describe('An alert that opens this often within the window flaps: it then stays open until it was quiet.'),
    window: duration({ min: '10m' }).prefault('6h').describe('Window in which openings are counted.'),
    quiet: duration({ min: '5m' })
      .prefault('1h')
      .describe('How long a flapping alert must be good before it is resolved.'),
  }),
  deliveryTimeout: duration({ min: '1s', max: '30s' })
    .prefault('5s')
    .describe('Time for all deliveries of one pass, of which a run has two or three. What is left waits for the next.'),
  maximumAge: duration({ min: '1h' })
    .prefault('24h')
    .describe(
      'A message that could not be delivered for so long becomes a dead letter. An alert that still fires then is opened anew.',
    ),
  outageInterval: duration({ min: '5m' })
    .prefault('1h')
    .describe('While PostgreSQL is down, channels that collect messages are told once in this time.'),
})

/** Times in milliseconds, as option types read them. */
export type AlertPolicy = Readonly<Omit<z.output<typeof alertPolicyOptions>, 'holdDown' | 'flapping'>> & {
  readonly holdDown: Readonly<Record<Severity, number>>
  readonly flapping: { readonly openings: number; readonly window: number; readonly quiet: number }
}

export function defaultAlertPolicy(): AlertPolicy {
  return z.parse(alertPolicyOptions, { holdDown: {}, flapping: {} })
}
