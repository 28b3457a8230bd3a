import type { AnyTask } from '@battlescope/scheduler-core'

/**
 * The tasks that come with the program, by name. A list chosen by configuration (`SCHEDULER_TASKS`) says which of them run; a run
 * reads the code of those alone, because every five minutes it pays for what it reads.
 */
const builtInTasks: Readonly<Record<string, () => Promise<{ readonly default: AnyTask }>>> = {
  analyze: () => import('@battlescope/task-analyze'),
  backup: () => import('@battlescope/task-backup'),
  cache: () => import('@battlescope/task-cache'),
  cluster: () => import('@battlescope/task-cluster'),
  health: () => import('@battlescope/task-health'),
  reindex: () => import('@battlescope/task-reindex'),
  retention: () => import('@battlescope/task-retention'),
  statistics: () => import('@battlescope/task-statistics'),
  vacuum: () => import('@battlescope/task-vacuum'),
}

export const builtInTaskNames: readonly string[] = Object.keys(builtInTasks)

/** @returns the tasks of these names, in the order of the list above; a name that is no built-in task's is left out */
export async function loadBuiltInTasks(names: readonly string[] = builtInTaskNames): Promise<readonly AnyTask[]> {
  const wanted = Object.entries(builtInTasks).filter(([name]) => names.includes(name))
  const modules = await Promise.all(wanted.map(([, load]) => load()))
  return modules.map((module) => module.default)
}
