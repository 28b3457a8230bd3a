import { concerns } from '../attention.js'
import type { ReportFacts } from '../facts.js'
import { counted } from '../figures.js'
import { html, shortened } from '../html.js'
import { severityMark } from '../marks.js'
import type { Section } from './section.js'

const mostShown = 30

export function attention(facts: ReportFacts): Section {
  const all = concerns(facts)
  const shown = all.slice(0, mostShown)
  const more = all.length - shown.length
  return {
    id: 'attention',
    title: 'Needs attention',
    body:
      all.length === 0
        ? html`<p class="fine"><span aria-hidden="true">${'✓'} </span>${calm(facts)}</p>`
        : html`<ul class="concerns">
              ${shown.map(
                ({ severity, subject, text }) =>
                  html`<li>${severityMark(severity)} <strong>${subject}</strong> <span>${shortened(text)}</span></li> `,
              )}
            </ul>
            ${more > 0 ? html`<p class="note">and ${more} more, which <code>status</code> lists</p>` : undefined}`,
  }
}

function calm({ tasks, rows }: ReportFacts): string {
  if (rows?.runTotals.newestAt === undefined) return 'Nothing to say yet: no run is on record.'
  return `Of ${counted(tasks.length, 'enabled task')} none is stuck, failing, paused or late, and none has a finding of severity warning or worse.`
}
