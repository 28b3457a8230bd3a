import type { Finding } from '@battlescope/scheduler-core'
import { rank } from '../attention.js'
import type { ReportFacts } from '../facts.js'
import { fromNow } from '../figures.js'
import { html, shortened } from '../html.js'
import { severityMark } from '../marks.js'
import { table } from '../table.js'
import { empty, type Section } from './section.js'

const mostShown = 60
const mostOpen = 12

interface Row {
  readonly task: string
  readonly at: Date | undefined
  readonly finding: Finding
}

export function findings({ tasks, period }: ReportFacts): Section {
  const all = tasks.flatMap(({ name, last, findings: found }) =>
    found.map((finding): Row => ({ task: name, at: last?.at, finding })),
  )
  const title = 'Newest findings'
  if (all.length === 0)
    return { id: 'findings', title, body: empty('The newest run of each task found nothing that a human should know.') }
  const sorted = all.sort((a, b) => rank(b.finding.severity) - rank(a.finding.severity))
  const shown = sorted.slice(0, mostShown)
  return {
    id: 'findings',
    title,
    lead: 'What the newest run of each task says a human should know, worst first.',
    body: html`${table<Row>(
      'Findings of the newest run of each task',
      [
        { heading: 'Severity', cell: ({ finding }) => severityMark(finding.severity) },
        { heading: 'Task', cell: ({ task }) => task },
        {
          heading: 'Finding',
          cell: ({ finding }) => html`${shortened(finding.summary)}<small>${finding.key}</small>`,
          wide: true,
        },
        { heading: 'Seen', cell: ({ at }) => (at === undefined ? '–' : fromNow(at, period.to)), numeric: true },
      ],
      shown,
      mostOpen,
    )}${all.length > shown.length ? html`<p class="note">The worst ${mostShown} of ${all.length} are shown; <code>status</code> lists all.</p>` : undefined}`,
  }
}
