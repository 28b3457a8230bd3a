/** How alerts behave: when they open, how often people hear of them, when they are over. */
import { z } from 'zod'
import { duration, formatDuration } from '../option-types.js'
import type { Severity } from '../task.js'

/** Times in milliseconds. */
export interface AlertPolicy {
  readonly installation?: string | undefined
  readonly holdDown: Readonly<Record<Severity, number>>
  readonly resolveAfter: number
  readonly reminderInterval: number
  readonly updateInterval: number
  readonly grace: number
  readonly flapping: { readonly openings: number; readonly window: number; readonly quiet: number }
  readonly deliveryTimeout: number
  readonly maximumAge: number
  readonly outageInterval: number
}

const minute = 60_000
const hour = 60 * minute

export const defaultAlertPolicy: AlertPolicy = {
  holdDown: { info: 15 * minute, warning: 5 * minute, error: 0, critical: 0 },
  resolveAfter: 2,
  reminderInterval: 4 * hour,
  updateInterval: 30 * minute,
  grace: 15 * minute,
  flapping: { openings: 4, window: 6 * hour, quiet: hour },
  deliveryTimeout: 5000,
  maximumAge: 24 * hour,
  outageInterval: hour,
}

/**
 * Options of the section `alerts` that belong to no provider: spread their `shape` beside those that do. A function, because a run in
 * which nothing of the section is given needs the defaults, and pays for every schema that is made.
 */
export const alertPolicyOptions = () =>
  z.object({
    installation: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/)
      .optional()
      .describe(
        'Names this database in the key of every alert, such as production. Set it where a copy of the database has a scheduler, too.',
      ),
    holdDown: z.object({
      info: duration({ min: '0s' })
        .prefault(formatDuration(defaultAlertPolicy.holdDown.info))
        .describe('How long a finding of severity info must last before it fires.'),
      warning: duration({ min: '0s' })
        .prefault(formatDuration(defaultAlertPolicy.holdDown.warning))
        .describe('The same for warning.'),
      error: duration({ min: '0s' })
        .prefault(formatDuration(defaultAlertPolicy.holdDown.error))
        .describe('The same for error.'),
      critical: duration({ min: '0s' })
        .prefault(formatDuration(defaultAlertPolicy.holdDown.critical))
        .describe('The same for critical.'),
    }),
    resolveAfter: z
      .number()
      .int()
      .min(1)
      .max(100)
      .default(defaultAlertPolicy.resolveAfter)
      .describe(
        'Good runs of a task in a row until its alert is resolved. A task that runs hourly or less often needs one.',
      ),
    reminderInterval: duration({ min: '5m' })
      .prefault(formatDuration(defaultAlertPolicy.reminderInterval))
      .describe('People are called again by an alert that still fires, at most this often.'),
    updateInterval: duration({ min: '1m' })
      .prefault(formatDuration(defaultAlertPolicy.updateInterval))
      .describe('A changed summary is told at most this often. A changed severity is told at once.'),
    grace: duration({ min: '0s' })
      .prefault(formatDuration(defaultAlertPolicy.grace))
      .describe('After the first sight of a task only its critical findings fire.'),
    flapping: z.object({
      openings: z
        .number()
        .int()
        .min(2)
        .max(20)
        .default(defaultAlertPolicy.flapping.openings)
        .describe('An alert that opens this often within the window flaps: it then stays open until it was quiet.'),
      window: duration({ min: '10m' })
        .prefault(formatDuration(defaultAlertPolicy.flapping.window))
        .describe('Window in which openings are counted.'),
      quiet: duration({ min: '5m' })
        .prefault(formatDuration(defaultAlertPolicy.flapping.quiet))
        .describe('How long a flapping alert must be good before it is resolved.'),
    }),
    deliveryTimeout: duration({ min: '1s', max: '30s' })
      .prefault(formatDuration(defaultAlertPolicy.deliveryTimeout))
      .describe(
        'Time for all deliveries of one pass, of which a run has two or three. What is left waits for the next.',
      ),
    maximumAge: duration({ min: '1h' })
      .prefault(formatDuration(defaultAlertPolicy.maximumAge))
      .describe(
        'A message that could not be delivered for so long becomes a dead letter. An alert that still fires then is opened anew.',
      ),
    outageInterval: duration({ min: '5m' })
      .prefault(formatDuration(defaultAlertPolicy.outageInterval))
      .describe('While PostgreSQL is down, channels that collect messages are told once in this time.'),
  })
