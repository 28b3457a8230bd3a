import type { RunProblem } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'
import { duration, fromNow, instant } from '../figures.js'
import { html, shortened } from '../html.js'
import { outcomeMark } from '../marks.js'
import { table } from '../table.js'
import { empty, type Section } from './section.js'

const mostShown = 20
const mostOpen = 8

export function problems({ rows, period, why }: ReportFacts): Section {
  const all = rows?.problems ?? []
  const title = 'Runs that did not end well'
  if (all.length === 0)
    return { id: 'problems', title, body: empty(why ?? 'No task failed, timed out or was cancelled in this period.') }
  return {
    id: 'problems',
    title,
    lead: html`Failed, timed out or cancelled, newest first.`,
    body: html`${table<RunProblem>(
      'Runs of tasks that did not end well',
      [
        {
          heading: 'When',
          cell: ({ at }) =>
            html`<time datetime="${at.toISOString()}">${instant(at)}</time><small>${fromNow(at, period.to)}</small>`,
        },
        { heading: 'Task', cell: ({ task }) => task },
        { heading: 'Outcome', cell: ({ outcome }) => outcomeMark(outcome) },
        { heading: 'Took', cell: ({ durationMs }) => duration(durationMs), numeric: true },
        {
          heading: 'Why',
          cell: ({ reason, errorCode }) =>
            html`${reason === undefined ? '–' : shortened(reason)}${errorCode === undefined ? undefined : html`<small>${errorCode}</small>`}`,
          wide: true,
        },
      ],
      all.slice(0, mostShown),
      mostOpen,
    )}${all.length > mostShown ? html`<p class="note">There are more; <code>history</code> has all.</p>` : undefined}`,
  }
}
