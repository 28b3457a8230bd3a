import type { AnyTask } from '@battlescope/scheduler-core'
import { analyze } from '@battlescope/task-analyze'
import { cache } from '@battlescope/task-cache'
import { cluster } from '@battlescope/task-cluster'
import { retention } from '@battlescope/task-retention'
import { statistics } from '@battlescope/task-statistics'

/** The tasks that come with the program. A list chosen by configuration (`SCHEDULER_TASKS`) says which of them run. */
export const builtInTasks: readonly AnyTask[] = [analyze, cache, cluster, retention, statistics]
