import type { ReportFacts, TaskFacts } from '../facts.js'
import { duration, fromNow, instant } from '../figures.js'
import { html, shortened, type Content } from '../html.js'
import { table } from '../table.js'
import { empty, type Section } from './section.js'

const mostNames = 40

export function nextSlots(facts: ReportFacts): Section {
  const { tasks, period, expectedIntervalMs, notEnabled } = facts
  // What is due first, then by time; what nobody can date comes last.
  const time = ({ next }: TaskFacts) => (next.due ? 0 : (next.at?.getTime() ?? Infinity))
  const sorted = [...tasks].sort((a, b) => compare(time(a), time(b)) || compare(a.name, b.name))
  const names = notEnabled.slice(0, mostNames)
  const rest = notEnabled.length - names.length
  return {
    id: 'next',
    title: 'Next slots',
    lead: `What the plan says at ${instant(period.to)}; something is expected to start a run every ${duration(expectedIntervalMs)}.`,
    body: html`${
      tasks.length === 0
        ? empty('No task is enabled.')
        : table<TaskFacts>(
            'Next slot of each enabled task',
            [
              { heading: 'Task', cell: ({ name }) => name },
              { heading: 'Schedule', cell: ({ schedule }) => schedule },
              { heading: 'Next', cell: (task) => nextOf(task, period.to) },
              { heading: 'Why', cell: ({ next }) => shortened(next.reason), wide: true },
            ],
            sorted,
          )
    }${
      names.length === 0
        ? undefined
        : html`<p class="note">
            Known from earlier, not enabled or not loaded: ${names.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}.
          </p>`
    }`,
  }
}

function nextOf({ next }: TaskFacts, now: Date): Content {
  if (next.due) return 'in the next run'
  if (next.at === undefined) return '–'
  return html`<time datetime="${next.at.toISOString()}">${instant(next.at)}</time
    ><small>${fromNow(next.at, now)}</small>`
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}
