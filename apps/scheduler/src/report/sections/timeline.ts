import { partsOf, type OutcomeCounts, type RunPart, type TaskPart } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'
import { counted, duration } from '../figures.js'
import { html, type Content } from '../html.js'
import { outcomeLegend, outcomeStrip, worstFirst, type StripCell } from '../plots/outcome-strip.js'
import { endOfParts, partName, timeAxis } from '../plots/time-axis.js'
import { shownTasks } from './shown-tasks.js'
import { empty, type Section } from './section.js'

export function timeline(facts: ReportFacts): Section {
  const { rows, period, why } = facts
  const title = 'Timeline'
  const ran = rows !== undefined && (rows.runParts.length > 0 || rows.taskParts.length > 0)
  if (!ran) return { id: 'timeline', title, body: empty(why ?? 'Nothing ran in this period.') }
  const parts = partsOf(period)
  const name = (at: Date) => partName(at, period)
  const cells = <Part extends { readonly at: Date }>(some: readonly Part[], cell: (part: Part) => StripCell) => {
    const byTime = new Map(some.map((part) => [part.at.getTime(), part]))
    return parts.map((at) => {
      const part = byTime.get(at.getTime())
      return part === undefined ? undefined : cell(part)
    })
  }
  const runs = cells(rows.runParts, (part) => runCell(part, name(part.at)))
  const lanes = shownTasks(facts).map((task) => {
    const own = rows.taskParts.filter((part) => part.task === task)
    return lane(
      task,
      outcomeStrip(
        cells(own, (part) => taskCell(part, name(part.at))),
        describe(task, own),
      ),
    )
  })
  const failed = rows.runParts.filter((part) => part.failed > 0).length
  const label = `runs of the scheduler: in ${counted(rows.runParts.length, 'part')} of ${parts.length}, in ${failed} of them at least one with an exit code other than 0`
  const axis = timeAxis(period.from, endOfParts(period, parts), period.partMs, 'now')
  return {
    id: 'timeline',
    title,
    lead: html`Each bar stands for ${duration(period.partMs)} and shows the worst that happened in them. The first lane
    is the scheduler itself: a gap there means that nothing started it.`,
    body: html`${outcomeLegend()}
      <div class="lanes">
        ${lane('scheduler', outcomeStrip(runs, label), 'whole')}${lanes}
        <div class="lane"><span></span>${axis}</div>
      </div>`,
  }
}

function lane(name: string, strip: Content, kind = ''): Content {
  return html`<div class="lane ${kind}"><span class="name">${name}</span>${strip}</div> `
}

function runCell({ runs, failed }: RunPart, name: string): StripCell {
  const tip = `${name}: ${counted(runs, 'run')}, ${failed} with an exit code other than 0`
  return { outcome: failed > 0 ? 'failed' : 'succeeded', tip }
}

function taskCell({ counts, longestMs }: TaskPart, name: string): StripCell {
  const outcome = worstFirst.find((one) => counts[one] > 0) ?? 'skipped'
  return { outcome, tip: `${name}: ${inWords(counts)}; longest ${duration(longestMs)}` }
}

function inWords(counts: OutcomeCounts): string {
  return worstFirst
    .filter((outcome) => counts[outcome] > 0)
    .map((outcome) => `${counts[outcome]} ${outcome.replace('-', ' ')}`)
    .join(', ')
}

function describe(task: string, parts: readonly TaskPart[]): string {
  const bad = parts.filter(({ counts }) => counts.failed + counts['timed-out'] > 0).length
  return `runs of ${task}: in ${counted(parts.length, 'part')} of the period, in ${bad} of them at least one failure`
}
