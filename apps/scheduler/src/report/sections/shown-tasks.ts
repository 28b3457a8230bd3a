import { mostTasks } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'

/** Tasks that have a lane and a row: those that ran in the period, and those that are enabled; as many as a page bears, by name. */
export function shownTasks({ rows, tasks }: ReportFacts): readonly string[] {
  const ran = (rows?.taskTotals ?? []).map(({ task }) => task)
  return [...new Set([...ran.slice(0, mostTasks), ...tasks.map(({ name }) => name)])].slice(0, mostTasks).sort()
}

/** Said where the list ends early. */
export function tasksNotShown({ rows, tasks }: ReportFacts): boolean {
  const names = new Set([...(rows?.taskTotals ?? []).map(({ task }) => task), ...tasks.map(({ name }) => name)])
  return names.size > mostTasks
}
