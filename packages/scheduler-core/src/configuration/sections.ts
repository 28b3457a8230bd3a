import { z } from 'zod'
import { duration, formatDuration, formatSchedule, schedule } from '../option-types.js'
import type { Schedule } from '../schedule.js'
import type { AnyTask } from '../task.js'

/** A group of options with one prefix: those of a task, of the alerts, of the store; without a name those of the program itself. */
export interface Section {
  /** Kebab-case. First part of the path in the file and of the environment variable. */
  readonly name?: string
  readonly description?: string
  readonly schema: z.ZodObject
  /** Replaces defaults of the schema: path within the section (`a.b`) → value, in the form that the file has. */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** For tasks: adds the options that every task has. The values are their defaults. */
  readonly task?: TaskOptions
}

/** What can be configured for every task, beside the task's own options. */
export interface TaskOptions {
  readonly schedule: Schedule
  /** Hard limit of one run, in milliseconds; the option is called `timeout`. */
  readonly timeoutMs: number
}

export const taskOptionsSchema = z.object({
  schedule: schedule().describe('When the task is due. Times are UTC unless a timezone is given.'),
  timeout: duration({ min: '1s' }).describe('Hard limit of one run of this task.'),
})

/** The options that every task has, with the defaults of this one in the form of the file. */
export function taskOptionDefaults({ schedule, timeoutMs }: TaskOptions): Readonly<Record<string, unknown>> {
  return { schedule: formatSchedule(schedule), timeout: formatDuration(timeoutMs) }
}

/** The section of a task's options. The task has been held against the contract before. */
export function taskSection(
  task: Pick<AnyTask, 'name' | 'description' | 'schedule' | 'timeoutMs' | 'configSchema'>,
): Section {
  return {
    name: task.name,
    description: task.description,
    schema: task.configSchema as z.ZodObject,
    task: { schedule: task.schedule, timeoutMs: task.timeoutMs },
  }
}
