import { duration, formatDuration, severities, type Severity } from '@battlescope/scheduler-core'
import { z } from 'zod'
import type { AnyCheck, AnyOptions } from './check.js'
import { checks } from './checks.js'
import { settingsShape } from './settings.js'

/** One schema for each default, not one for each check: making them costs time in every run. */
function cached<Key, Schema>(make: (key: Key) => Schema): (key: Key) => Schema {
  const made = new Map<Key, Schema>()
  return (key) => {
    const schema = made.get(key) ?? make(key)
    made.set(key, schema)
    return schema
  }
}

const enabled = z.boolean().default(true).describe('Whether the check is made.')
const severity = cached((its: Severity) =>
  z.enum(severities).default(its).describe('How bad it is, where the check does not tell by what it found.'),
)
const holdDown = cached((ms: number) =>
  duration({ min: '0s' }).prefault(formatDuration(ms)).describe('For how long it must be found before an alert fires.'),
)
const interval = cached((its: AnyCheck['interval']) =>
  its === 'every-run'
    ? duration().optional().describe('How often it is made. Absent: in every run.')
    : duration().prefault(formatDuration(its)).describe('How often it is made, at most once in a run.'),
)

/** `queue-depth` → `queueDepth`. */
export function optionName(key: string): string {
  return key.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function schemaOf(check: AnyCheck) {
  return z
    .object({
      enabled,
      ...(check.options as z.ZodRawShape),
      severity: severity(check.severity),
      holdDown: holdDown(check.holdDownMs),
      interval: interval(check.interval),
    })
    .prefault({})
    .describe(check.description)
}

/** The settings that checks share, and one group of options for each check. */
export function configOf(all: readonly AnyCheck[]) {
  const groups = Object.fromEntries(all.map((check) => [optionName(check.key), schemaOf(check)]))
  // Which groups there are is data: the type knows the settings alone, and optionsOf() gives the rest.
  return z.object({ ...settingsShape, ...groups }) as unknown as z.ZodObject<typeof settingsShape>
}

export const healthConfig = configOf(checks)
export type HealthConfig = z.output<typeof healthConfig>

/** The options of one check, its own thresholds among them. */
export function optionsOf(config: Readonly<HealthConfig>, { key }: Pick<AnyCheck, 'key'>): AnyOptions {
  return (config as unknown as Readonly<Record<string, AnyOptions>>)[optionName(key)] as AnyOptions
}
