import type { Assignment, Assignments, OptionSource } from './assignments.js'
import { displayDefault, displayValue } from './display.js'
import type { Option } from './options.js'

/** One option as `config` prints it. JSON-safe, secrets masked. */
export interface OptionReport {
  readonly path: string
  readonly section?: string
  readonly environment: string
  /** The flag, where one gave the value. */
  readonly flag?: string
  readonly source: OptionSource
  readonly value?: unknown
  readonly default?: unknown
  readonly description?: string
  readonly secret: boolean
}

/** `effective` holds what the schemas yielded, for the sections that passed. */
export function reportOption(
  option: Option,
  assignments: Assignments,
  effective: ReadonlyMap<Option, unknown>,
): OptionReport {
  const assignment = assignments.values.get(option)
  const value = effective.has(option) ? displayValue(option, effective.get(option)) : displayRaw(option, assignment)
  const preset = displayDefault(option)
  return {
    path: option.path,
    ...(option.section.name === undefined ? {} : { section: option.section.name }),
    environment: option.environment,
    ...(assignment?.source === 'flag' ? { flag: option.flag } : {}),
    source: assignment?.source ?? 'default',
    ...(value === undefined ? {} : { value }),
    ...(preset === undefined ? {} : { default: preset }),
    ...(option.description === undefined ? {} : { description: option.description }),
    secret: option.secret !== false,
  }
}

/** A section that did not pass has no values to show: its options are shown as they were given. */
function displayRaw(option: Option, assignment: Assignment | undefined): unknown {
  return assignment === undefined ? displayDefault(option) : displayValue(option, assignment.text ?? assignment.value)
}
