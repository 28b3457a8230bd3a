import type { AnyTask } from '@battlescope/scheduler-core'
import { analyze } from '@battlescope/task-analyze'

/** The tasks that come with the program. A list chosen by configuration (`SCHEDULER_TASKS`) says which of them run. */
export const builtInTasks: readonly AnyTask[] = [analyze]
