import { partsOf, type FlowTarget } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'
import { bytes, count, counted, duration } from '../figures.js'
import { html, type Html } from '../html.js'
import { bars } from '../plots/bars.js'
import { roundUp } from '../plots/scale.js'
import { endOfParts, partName, timeAxis } from '../plots/time-axis.js'
import { valueAxis } from '../plots/value-axis.js'
import { table } from '../table.js'
import { empty, type Section } from './section.js'

/** Which actions count as what; the names are those of the built-in tasks, and free for others. */
export const rowFlows = {
  deleted: ['delete-rows', 'drop-partition'],
  archived: ['archive'],
} as const

type Flow = keyof typeof rowFlows
const mostTargets = 20

export function rows(facts: ReportFacts): Section {
  const title = 'Rows deleted and archived'
  const read = facts.rows
  if (read === undefined || read.flowParts.length === 0)
    return { id: 'rows', title, body: empty('Nothing was deleted or archived in this period.') }
  const { period } = facts
  const parts = partsOf(period)
  const valuesOf = (flow: Flow) => {
    const byTime = new Map(
      read.flowParts.filter((part) => part.flow === flow).map((part) => [part.at.getTime(), part.rows]),
    )
    return parts.map((at) => byTime.get(at.getTime()))
  }
  // One scale for both: what left the tables and what lies in cold storage are to be compared.
  const most = roundUp(Math.max(...read.flowParts.map((part) => part.rows)))
  const plot = (flow: Flow): Html => {
    const values = valuesOf(flow)
    const all = values.reduce<number>((sum, value) => sum + (value ?? 0), 0)
    const label = `rows ${flow}, ${duration(period.partMs)} a bar, from 0 to ${count(most)}; ${count(all)} in the whole period`
    const tip = (index: number, value: number) =>
      `${partName(parts[index] ?? period.from, period)}: ${counted(value, 'row')} ${flow}`
    return html`<figure>
      <figcaption>${flow === 'deleted' ? 'Deleted' : 'Archived'}: <b>${count(all)}</b> rows in the period</figcaption>
      <div class="plot">${valueAxis(most, count, 3)}${bars({ values, most, tip, label, kind: flow })}</div>
      <div class="plot below">
        <span></span>${timeAxis(period.from, endOfParts(period, parts), period.partMs, 'now')}
      </div>
    </figure>`
  }
  return {
    id: 'rows',
    title,
    lead: html`Rows, as the audit trail has them; each bar stands for ${duration(period.partMs)}. A deleted row counts
    where it expired, together with the rows of other relations that went with it.`,
    body: html`<div class="pair">${plot('deleted')}${plot('archived')}</div>
      ${byRelation(read.flowTargets)}`,
  }
}

interface Row {
  readonly target: string
  readonly deleted: number | undefined
  readonly archived: number | undefined
  readonly archivedBytes: number | undefined
}

/** Nothing recorded is not the same as 0. */
function counts(value: number | undefined): string {
  return value === undefined ? '–' : count(value)
}

function byRelation(targets: readonly FlowTarget[]): Html {
  const names = [...new Set(targets.map(({ target }) => target))]
  const of = (target: string, flow: Flow) => targets.find((one) => one.target === target && one.flow === flow)
  const all = names.map((target): Row => ({
    target,
    deleted: of(target, 'deleted')?.rows,
    archived: of(target, 'archived')?.rows,
    archivedBytes: of(target, 'archived')?.bytes,
  }))
  const shown = all.slice(0, mostTargets)
  return html`${table<Row>(
    'Rows deleted and archived by relation',
    [
      { heading: 'Relation', cell: ({ target }) => target },
      { heading: 'Deleted, rows', cell: ({ deleted }) => counts(deleted), numeric: true },
      { heading: 'Archived, rows', cell: ({ archived }) => counts(archived), numeric: true },
      {
        heading: 'Archived, size',
        cell: ({ archivedBytes }) => (archivedBytes === undefined ? '–' : bytes(archivedBytes)),
        numeric: true,
      },
    ],
    shown,
  )}${all.length > shown.length ? html`<p class="note">The ${mostTargets} with the most rows are shown.</p>` : undefined}`
}
