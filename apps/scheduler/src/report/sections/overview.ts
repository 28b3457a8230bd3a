import type { OutcomeCounts, ReportRows } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'
import { bytes, change, count, counted, duration, fromNow, instant, percent } from '../figures.js'
import { forecastOf } from '../forecast.js'
import { html, type Content } from '../html.js'
import { empty, type Section } from './section.js'

export function overview(facts: ReportFacts): Section {
  const { rows, why } = facts
  const body =
    rows === undefined ? empty(why ?? 'Nothing ran yet.') : html`<dl class="tiles">${tiles(rows, facts)}</dl>`
  return { id: 'overview', title: 'At a glance', body }
}

function tiles(rows: ReportRows, { period }: ReportFacts): readonly Content[] {
  const { runTotals, taskTotals } = rows
  const runs = sum(runTotals.byExitCode.map(({ runs: one }) => one))
  const clean = sum(runTotals.byExitCode.filter(({ exitCode }) => exitCode === 0).map(({ runs: one }) => one))
  const taskRuns = sum(taskTotals.map(({ counts }) => total(counts)))
  const bad = sum(taskTotals.map(({ counts }) => counts.failed + counts['timed-out']))
  const flow = (name: string) => sum(rows.flowParts.filter((part) => part.flow === name).map((part) => part.rows))
  const size = rows.growth.total.at(-1)
  const forecast = forecastOf(rows.growth.total)
  return [
    tile('Runs of the scheduler', count(runs), `${count(runs - clean)} with an exit code other than 0`),
    tile(
      'Last run',
      runTotals.newestAt === undefined ? '–' : fromNow(runTotals.newestAt, period.to),
      runTotals.newestAt === undefined ? 'none' : `ended ${instant(runTotals.newestAt)}`,
    ),
    tile(
      'Length of a run',
      runTotals.durations === undefined ? '–' : duration(runTotals.durations.medianMs),
      runTotals.durations === undefined ? 'no run' : `median; 95 % within ${duration(runTotals.durations.p95Ms)}`,
    ),
    tile('Runs of tasks', count(taskRuns), `${counted(bad, 'failure')} (${percent(bad, taskRuns)})`),
    tile('Rows deleted', count(flow('deleted')), `rows; ${count(flow('archived'))} archived`),
    tile(
      'Size of all relations',
      size === undefined ? '–' : bytes(size.bytes),
      size === undefined
        ? 'not measured'
        : forecast === undefined
          ? `measured on ${size.day}`
          : `${change(forecast.perDayBytes, bytes)} a day`,
    ),
  ]
}

function tile(name: string, value: string, note: string): Content {
  return html`<div class="tile">
    <dt>${name}</dt>
    <dd><b>${value}</b> <span>${note}</span></dd>
  </div> `
}

export function total(counts: OutcomeCounts): number {
  return sum(Object.values(counts))
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0)
}
