/** Stage 2: tasks and their configuration become the registry. Pure; loading packages is the program's part. */
import { z } from 'zod'
import { messageOf, SchedulerError } from './errors.js'
import { scheduleProblem, type Schedule } from './schedule.js'
import { apiVersion, type AnyTask, type Requirements } from './task.js'

/** Where a task comes from. */
export type Origin = { readonly kind: 'built-in' } | { readonly kind: 'package'; readonly specifier: string }

export interface RegisteredTask {
  readonly task: AnyTask
  readonly name: string
  readonly origin: Origin
  /** Validated options, frozen. */
  readonly config: Readonly<Record<string, unknown>>
  /** The effective schedule: configured, or the task's own. */
  readonly schedule: Schedule
  /** The effective timeout in milliseconds. */
  readonly timeoutMs: number
  readonly requires: Requirements
}

/** A package that was asked for and cannot run. The others run; the exit code is 1. */
export interface DisabledTask {
  /** The specifier, or the name of the task inside it. */
  readonly name: string
  readonly reason: string
  readonly hint?: string
}

export interface Registry {
  readonly tasks: readonly RegisteredTask[]
  readonly disabled: readonly DisabledTask[]
}

export interface TaskSettings {
  readonly config: Readonly<Record<string, unknown>>
  readonly schedule?: Schedule
  readonly timeoutMs?: number
}

/** A task and its settings become an entry of the registry. @throws whatever the task's own `requires` throws. */
export function registerTask(task: AnyTask, origin: Origin, settings: TaskSettings): RegisteredTask {
  return {
    task,
    name: task.name,
    origin,
    config: settings.config,
    schedule: settings.schedule ?? task.schedule,
    timeoutMs: settings.timeoutMs ?? task.timeoutMs,
    requires: task.requires(settings.config),
  }
}

/** Whether a run of the task may open a session of its own. */
export function mayUseDirect({ requires: { direct = false } }: RegisteredTask): boolean {
  return direct === true || direct === 'optional'
}

/**
 * What commands ask of tasks, by task, in the form that each task declares.
 * @throws SchedulerError `unknown-task` for a task that is not enabled, `usage` for what does not fit
 */
export function parseRequests(
  requests: Readonly<Record<string, unknown>>,
  { tasks }: Registry,
): Readonly<Record<string, unknown>> {
  const parsed: Record<string, unknown> = {}
  for (const [name, request] of Object.entries(requests)) {
    const entry = tasks.find((each) => each.name === name)
    if (entry === undefined) {
      throw new SchedulerError('unknown-task', `the task '${name}' is not enabled`, {
        hint: `add it to SCHEDULER_TASKS; enabled: ${tasks.map((each) => each.name).join(', ')}`,
      })
    }
    const schema = entry.task.requestSchema as z.ZodType | undefined
    if (schema === undefined) throw new SchedulerError('usage', `the task '${name}' takes no requests`)
    const result = z.safeParse(schema, request)
    if (!result.success) {
      const problems = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
      throw new SchedulerError('usage', `what was asked of the task '${name}' does not fit: ${problems.join('; ')}`)
    }
    parsed[name] = result.data
  }
  return parsed
}

const namePattern = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/

/** Options that every task has, and none may define by itself. */
export const reservedOptions = ['schedule', 'timeout'] as const

/**
 * Holds something against the contract: what a package exports may be anything.
 * @returns the problems, empty for a task.
 */
export function taskProblems(candidate: unknown): readonly string[] {
  if (typeof candidate !== 'object' || candidate === null)
    return ['is no task: the default export must be a task or an array of tasks']
  const task = candidate as Partial<Record<keyof AnyTask, unknown>>
  if (task.apiVersion !== apiVersion) {
    return [`is written for apiVersion ${String(task.apiVersion)}; this scheduler has apiVersion ${apiVersion}`]
  }
  const problems: string[] = []
  if (typeof task.name !== 'string' || !namePattern.test(task.name) || task.name.length > 40) {
    problems.push(`its name ${JSON.stringify(task.name) ?? 'undefined'} is not kebab-case of at most 40 characters`)
  }
  // Alerts are named `task/finding`, and those of the scheduler itself `scheduler/…`.
  if (task.name === 'scheduler') problems.push(`its name 'scheduler' is reserved`)
  if (typeof task.description !== 'string' || task.description === '') problems.push('has no description')
  if (typeof task.run !== 'function') problems.push('has no function run')
  if (typeof task.requires !== 'function') problems.push('has no function requires')
  if (typeof task.timeoutMs !== 'number' || !(task.timeoutMs > 0))
    problems.push('its timeoutMs is not a number above 0')
  problems.push(...scheduleProblems(task.schedule), ...schemaProblems(task.configSchema))
  return problems
}

function scheduleProblems(schedule: unknown): readonly string[] {
  const kind = (schedule as { kind?: unknown } | null | undefined)?.kind
  if (kind !== 'every-run' && kind !== 'interval' && kind !== 'cron')
    return ['its schedule is none of every-run, interval, cron']
  try {
    const problem = scheduleProblem(schedule as Schedule)
    return problem === undefined ? [] : [`its schedule is wrong: ${problem}`]
  } catch (error) {
    return [`its schedule is wrong: ${messageOf(error)}`]
  }
}

function schemaProblems(schema: unknown): readonly string[] {
  // Two copies of zod 4 work together, so ask for the shape of the thing, never for the class.
  const definition = (
    schema as { _zod?: { def?: { type?: unknown; shape?: Record<string, unknown> } } } | null | undefined
  )?._zod?.def
  if (definition === undefined) {
    const isZod3 = (schema as { _def?: unknown } | null | undefined)?._def !== undefined
    return [isZod3 ? 'its configSchema is made with zod 3; zod 4 is needed' : 'its configSchema is no zod schema']
  }
  if (definition.type !== 'object') return ['its configSchema is no z.object(…)']
  return reservedOptions
    .filter((option) => Object.hasOwn(definition.shape ?? {}, option))
    .map((option) => `its option '${option}' is reserved: every task has it`)
}

/** Type guard over {@link taskProblems}. */
export function isTask(candidate: unknown): candidate is AnyTask {
  return taskProblems(candidate).length === 0
}

/** The default options of a task, for tests and docs. @throws z.ZodError when an option has no default. */
export function defaultConfig(task: AnyTask): Readonly<Record<string, unknown>> {
  return Object.freeze(z.parse(task.configSchema as z.ZodType<Record<string, unknown>>, {}))
}
