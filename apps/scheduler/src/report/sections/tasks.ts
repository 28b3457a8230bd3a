import { mostTasks, partsOf, type TaskPart, type TaskTotals } from '@battlescope/scheduler-core'
import type { ReportFacts, TaskFacts } from '../facts.js'
import { count, duration, fromNow } from '../figures.js'
import { html, type Content } from '../html.js'
import { outcomeMark } from '../marks.js'
import { bars } from '../plots/bars.js'
import { roundUpMs } from '../plots/scale.js'
import { partName } from '../plots/time-axis.js'
import { valueAxis } from '../plots/value-axis.js'
import { table } from '../table.js'
import { total } from './overview.js'
import { shownTasks, tasksNotShown } from './shown-tasks.js'
import { empty, type Section } from './section.js'

interface Row {
  readonly name: string
  readonly totals: TaskTotals | undefined
  readonly parts: readonly TaskPart[]
  readonly task: TaskFacts | undefined
}

export function tasks(facts: ReportFacts): Section {
  const { rows, period } = facts
  const title = 'Outcomes and durations'
  const shown: readonly Row[] = shownTasks(facts).map((name) => ({
    name,
    totals: rows?.taskTotals.find(({ task }) => task === name),
    parts: rows?.taskParts.filter(({ task }) => task === name) ?? [],
    task: facts.tasks.find((task) => task.name === name),
  }))
  if (shown.length === 0) return { id: 'tasks', title, body: empty('No task is enabled, and none ran.') }
  const counts =
    (pick: (totals: TaskTotals) => number) =>
    ({ totals }: Row) =>
      totals === undefined ? '–' : count(pick(totals))
  const took =
    (pick: (totals: TaskTotals) => number) =>
    ({ totals }: Row) =>
      totals === undefined ? '–' : duration(pick(totals))
  return {
    id: 'tasks',
    title,
    lead: html`Counts are runs in the period. The plot has the longest run of each ${duration(period.partMs)}, on an
    axis of its own that begins at zero.`,
    body: html`${table<Row>(
      'Outcomes and durations by task',
      [
        { heading: 'Task', cell: ({ name, task }) => nameOf(name, task) },
        { heading: 'Last', cell: ({ task }) => lastOf(task, period.to) },
        { heading: 'Runs', cell: counts((totals) => total(totals.counts)), numeric: true },
        { heading: 'Succeeded', cell: counts((totals) => totals.counts.succeeded), numeric: true },
        { heading: 'Partial', cell: counts((totals) => totals.counts.partial), numeric: true },
        { heading: 'Skipped', cell: counts((totals) => totals.counts.skipped), numeric: true },
        { heading: 'Cancelled', cell: counts((totals) => totals.counts.cancelled), numeric: true },
        {
          heading: 'Failed',
          cell: counts((totals) => totals.counts.failed + totals.counts['timed-out']),
          numeric: true,
        },
        { heading: 'Median', cell: took((totals) => totals.durations.medianMs), numeric: true },
        { heading: '95 % within', cell: took((totals) => totals.durations.p95Ms), numeric: true },
        { heading: 'Longest', cell: took((totals) => totals.durations.longestMs), numeric: true },
        { heading: 'Longest over time', cell: (row) => durationsOf(row, facts), wide: true },
      ],
      shown,
    )}${tasksNotShown(facts) ? html`<p class="note">Only ${mostTasks} tasks are shown, those with the most failures among them; <code>history</code> has all.</p>` : undefined}`,
  }
}

function nameOf(name: string, task: TaskFacts | undefined): Content {
  return html`${name}<small>${task === undefined ? 'not enabled now' : task.schedule}</small>`
}

function lastOf(task: TaskFacts | undefined, now: Date): Content {
  if (task?.last === undefined) return '–'
  return html`${outcomeMark(task.last.outcome)}<small>${fromNow(task.last.at, now)}</small>`
}

function durationsOf({ name, parts, totals }: Row, { period }: ReportFacts): Content {
  if (totals === undefined) return 'did not run'
  const most = roundUpMs(totals.durations.longestMs)
  const byTime = new Map(parts.map((part) => [part.at.getTime(), part.longestMs]))
  const all = partsOf(period)
  const plot = bars({
    values: all.map((at) => byTime.get(at.getTime())),
    most,
    tip: (index, value) => `${partName(all[index] ?? period.from, period)}: longest ${duration(value)}`,
    label: `longest run of ${name} over time, from 0 to ${duration(most)}; the longest took ${duration(totals.durations.longestMs)}`,
    kind: 'time',
  })
  return html`<span class="spark">${plot}${valueAxis(most, duration, 2)}</span>`
}
