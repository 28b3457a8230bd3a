import { z } from 'zod'
import { messageOf } from '../errors.js'
import { assign, locationOf, missingOption, type Assignment, type Assignments, type RawInput } from './assignments.js'
import { hintFor } from './hints.js'
import { reportOption, type OptionReport } from './option-report.js'
import { deriveOptions, type DerivedOptions, type Option, type OptionGroup } from './options.js'
import { showGiven, showName, type Problem } from './problems.js'
import { frozenCopy, isPlainObject } from './raw-value.js'
import { secretTexts, withoutSecrets, type Scrubber } from './redaction.js'
import { core, defaultOf, definition, metaOf, schemaAt, type Schema } from './schema-reading.js'
import { taskOptionsSchema, type Section, type TaskOptions } from './sections.js'
import { allowedValues, isStandardMessage } from './wording.js'

export interface ConfigurationInput extends RawInput {
  readonly sections: readonly Section[]
}

type Values = Readonly<Record<string, unknown>>

export interface ResolvedConfiguration {
  /** The program's own options, frozen; empty when one of them is wrong. */
  readonly program: Values
  /** Section name → its options as its schema yields them, frozen. A section with a problem is absent. */
  readonly sections: Readonly<Record<string, Values>>
  /** Section name → what every task has, for the sections of tasks. */
  readonly taskOptions: Readonly<Record<string, TaskOptions>>
  /** Every option, in the order of the sections. */
  readonly options: readonly OptionReport[]
  /** Tells a scrubber every secret that is given. A function, so that whoever prints this object prints none. */
  tellSecrets(scrubber: Scrubber): void
  /** Everything that is wrong. Nothing may be run unless this is empty. */
  readonly problems: readonly Problem[]
  /** Variables and sections of the file that no known section claims; always empty without `allowUnknown`. */
  readonly unclaimed: readonly string[]
}

/**
 * Merges flags, environment, file and defaults, in this order of precedence, and checks every option. Pure, and never throws for
 * what a user can write: everything that is wrong is in `problems`, all at once.
 */
export function resolveConfiguration(input: ConfigurationInput): ResolvedConfiguration {
  const derived = deriveOptions(input.sections)
  const assignments = assign(derived, input)
  const problems: Problem[] = [...derived.problems, ...assignments.problems]
  const program: Record<string, unknown> = {}
  const sections = Object.create(null) as Record<string, Values>
  const taskOptions = Object.create(null) as Record<string, TaskOptions>
  const effective = new Map<Option, unknown>()

  for (const section of input.sections) {
    const group = section.name === undefined ? derived.root : derived.groups.get(section.name)
    // A second section of one name is a problem already.
    if (group === undefined || (group.section !== undefined && group.section !== section)) continue
    const check = { input, derived, assignments, section, group }
    const own = parseSection({ ...check, schema: section.schema, common: false })
    problems.push(...own.problems)
    if (own.values !== undefined) {
      if (section.name === undefined) Object.assign(program, own.values)
      else sections[section.name] = frozenCopy(own.values) as Values
      collect(derived, section, false, own.values, effective)
    }
    if (section.task === undefined || section.name === undefined) continue
    const common = resolveTaskOptions(section.task, check)
    problems.push(...common.problems)
    if (common.values === undefined) continue
    const { schedule, timeout } = common.values as z.output<typeof taskOptionsSchema>
    taskOptions[section.name] = frozenCopy({ schedule, timeoutMs: timeout }) as TaskOptions
    collect(derived, section, true, common.values, effective)
  }

  let reports: readonly OptionReport[] | undefined
  return {
    program: frozenCopy(program) as Values,
    sections: Object.freeze(sections),
    taskOptions: Object.freeze(taskOptions),
    // Only the command `config` reads them, and every run pays for what is made here.
    get options() {
      reports ??= derived.options.map((option) => reportOption(option, assignments, effective))
      return reports
    },
    tellSecrets: (scrubber) => {
      scrubber.add(secretTexts(assignments, effective))
    },
    problems: withoutSecrets(problems, assignments),
    unclaimed: assignments.unclaimed,
  }
}

interface SectionCheck {
  readonly input: ConfigurationInput
  readonly derived: DerivedOptions
  readonly assignments: Assignments
  readonly section: Section
  readonly group: OptionGroup
  readonly schema: Schema
  readonly common: boolean
}

/** The defaults are values already: reading them from their text again would parse a cron expression per task in every run. */
function resolveTaskOptions(defaults: TaskOptions, check: Omit<SectionCheck, 'schema' | 'common'>): SectionResult {
  const { values, unreadable } = check.assignments
  const isGiven = [...values.keys(), ...unreadable].some((option) => option.common && option.section === check.section)
  if (isGiven) return parseSection({ ...check, schema: taskOptionsSchema, common: true })
  return { values: { schedule: defaults.schedule, timeout: defaults.timeoutMs }, problems: [] }
}

interface SectionResult {
  readonly values?: Values
  readonly problems: readonly Problem[]
}

function parseSection(check: SectionCheck): SectionResult {
  const { section, group, schema } = check
  const path = section.name ?? 'the configuration'
  let result: z.ZodSafeParseResult<unknown>
  try {
    // Each schema is used once in a process: compiling a parser for it would cost more than it saves.
    result = z.safeParse(schema, rawOf(group, check), { jitless: true })
  } catch (error) {
    const expected = 'a schema that can check the options'
    // Cutting its text could cut a secret in two, so that it would not be recognised any more.
    const quotesSecret = [...check.assignments.values.keys()].some(
      (option) => option.section === section && option.secret !== false,
    )
    const hint = `the schema of this section failed${quotesSecret ? '' : `: ${messageOf(error, 200)}`}`
    return { problems: [{ path, expected, hint }] }
  }
  if (result.success) {
    if (isPlainObject(result.data))
      return hasUnreadable(check) ? { problems: [] } : { values: result.data, problems: [] }
    return { problems: [{ path, expected: 'a schema that yields an object' }] }
  }
  return { problems: result.error.issues.flatMap((issue) => problemOf(issue, check)) }
}

function hasUnreadable({ assignments, section, common }: SectionCheck): boolean {
  return [...assignments.unreadable].some((option) => option.section === section && option.common === common)
}

/** What is given for a section, as its schema reads it. */
function rawOf(group: OptionGroup, check: SectionCheck): Record<string, unknown> {
  const { assignments, section, common } = check
  // Without a prototype, an option named `constructor` is absent until it is given.
  const raw = Object.create(null) as Record<string, unknown>
  for (const [key, child] of group.children) {
    if (child.kind === 'group') {
      // The root also holds the groups of the named sections.
      if (child.section !== section) continue
      const inner = rawOf(child, check)
      if (Object.keys(inner).length > 0 || child.required || assignments.mentioned.has(child)) raw[key] = inner
    } else if (child.section === section && child.common === common) {
      const assignment = assignments.values.get(child)
      if (assignment !== undefined) raw[key] = assignment.value
      else if (child.override !== undefined) raw[key] = child.override
    }
  }
  return raw
}

function problemOf(issue: z.core.$ZodIssue, check: SectionCheck): Problem[] {
  const { input, derived, assignments, section, group } = check
  const found = optionAt(group, issue.path)
  if (found === undefined) {
    const path = [...(section.name === undefined ? [] : [section.name]), ...issue.path.map(String)].join('.')
    const expected = isStandardMessage(issue.message) ? 'values that fit together' : issue.message
    return [{ path: showName(path === '' ? 'the configuration' : path), expected }]
  }
  const { option, rest } = found
  // Why it could not be read is among the problems already.
  if (assignments.unreadable.has(option)) return []
  const assignment = assignments.values.get(option)
  if (assignment === undefined && option.override === undefined && defaultOf(option.schema) === undefined) {
    return [missingOption(option, derived, input.environment)]
  }
  return [wrongValue(option, rest, issue, assignment, input)]
}

function wrongValue(
  option: Option,
  rest: readonly PropertyKey[],
  issue: z.core.$ZodIssue,
  assignment: Assignment | undefined,
  input: ConfigurationInput,
): Problem {
  const schema = schemaAt(option.schema, rest)
  const inner = rest.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')
  const location = assignment?.source === 'file' ? locationOf(input, [...option.keys, ...rest]) : {}
  const value = valueAt(assignment === undefined ? option.override : assignment.value, rest)
  const isText = assignment?.text !== undefined
  const given = rest.length === 0 ? (assignment?.text ?? value) : value
  const isShown = option.secret === false && given !== undefined
  const hint = option.secret === false ? hintFor(schema, given, isText) : undefined
  return {
    path: showName((assignment?.name ?? `the default of ${option.path}`) + inner),
    ...location,
    ...(isShown ? { given: showGiven(given) } : {}),
    expected: expectation(schema, issue, option),
    ...(hint === undefined ? {} : { hint }),
  }
}

function expectation(schema: Schema, issue: z.core.$ZodIssue, option: Option): string {
  const type = definition(core(schema)).type
  // Text options say themselves what they read, with their limits.
  if (metaOf(schema).optionType !== undefined && type === 'string') return issue.message
  const allowed = allowedValues(schema)
  // An author's words for a secret may quote it.
  const mayQuote = option.secret !== false && metaOf(option.schema).quotesNothing !== true
  if (mayQuote || isStandardMessage(issue.message)) return allowed
  return issue.message
}

/** The option that an issue is about, and where inside its value. */
function optionAt(
  group: OptionGroup,
  path: readonly PropertyKey[],
): { readonly option: Option; readonly rest: readonly PropertyKey[] } | undefined {
  let current = group
  for (const [index, key] of path.entries()) {
    const child = current.children.get(String(key))
    if (child === undefined) return undefined
    if (child.kind === 'option') return { option: child, rest: path.slice(index + 1) }
    current = child
  }
  return undefined
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value
  for (const key of path) {
    if (current === null || typeof current !== 'object' || !Object.hasOwn(current, key)) return undefined
    current = (current as Record<PropertyKey, unknown>)[key]
  }
  return current
}

function collect(
  derived: DerivedOptions,
  section: Section,
  common: boolean,
  values: Values,
  effective: Map<Option, unknown>,
): void {
  for (const option of derived.options) {
    if (option.section !== section || option.common !== common) continue
    effective.set(option, valueAt(values, option.keys.slice(section.name === undefined ? 0 : 1)))
  }
}
