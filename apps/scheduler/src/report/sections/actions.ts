import type { ActionTotals } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'
import { bytes, count, fromNow } from '../figures.js'
import { html } from '../html.js'
import { table } from '../table.js'
import { empty, type Section } from './section.js'

const mostShown = 60
const mostOpen = 12

export function actions({ rows, period }: ReportFacts): Section {
  const all = rows?.actionTotals ?? []
  const title = 'Actions'
  if (all.length === 0) return { id: 'actions', title, body: empty('No change was made in this period.') }
  // The most frequent come first from the database: what is cut is what is rare.
  const shown = all.slice(0, mostShown)
  const sorted = [...shown].sort((a, b) => (a.task + ' ' + a.kind < b.task + ' ' + b.kind ? -1 : 1))
  return {
    id: 'actions',
    title,
    lead: html`Every change in the period, added up from the audit trail; <code>history --actions</code> has them one by
      one.`,
    body: html`${table<ActionTotals>(
      'Actions by task and kind',
      [
        { heading: 'Action', cell: ({ task, kind }) => html`${kind}<small>${task}</small>` },
        { heading: 'Succeeded', cell: ({ succeeded }) => count(succeeded), numeric: true },
        { heading: 'Failed', cell: ({ failed }) => count(failed), numeric: true },
        { heading: 'Rows', cell: (one) => (one.rows === undefined ? '–' : count(one.rows)), numeric: true },
        { heading: 'Size', cell: (one) => (one.bytes === undefined ? '–' : bytes(one.bytes)), numeric: true },
        { heading: 'Newest', cell: ({ newestAt }) => fromNow(newestAt, period.to), numeric: true },
      ],
      sorted,
      mostOpen,
    )}${all.length > shown.length ? html`<p class="note">The ${mostShown} most frequent are shown.</p>` : undefined}`,
  }
}
