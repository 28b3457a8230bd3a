/** What stands below a plot over time. Text is HTML, never SVG, so that it keeps its size on a phone. */
import type { ReportPeriod } from '@battlescope/scheduler-core'
import { instant, partInstant } from '../figures.js'
import { html, type Html } from '../html.js'

const quarters = [0, 1, 2, 3] as const

/** Four labels, each at the left of its quarter. @param endMs where the plot ends */
export function timeAxis(from: Date, endMs: number, partMs: number, last = ''): Html {
  const labels = quarters.map((quarter) => {
    const at = new Date(from.getTime() + ((endMs - from.getTime()) * quarter) / quarters.length)
    return html`<span>${partInstant(at, partMs)}</span>`
  })
  return html`<div class="axis" aria-hidden="true">${labels}<span class="end">${last}</span></div>`
}

export function endOfParts({ from, partMs }: ReportPeriod, parts: readonly Date[]): number {
  return from.getTime() + parts.length * partMs
}

/** Faint lines where the labels stand. */
export function quarterLines(width: number, height: number): Html {
  return html`${quarters.map((quarter) => {
    const x = (width * quarter) / quarters.length
    return html`<line class="grid" x1="${x}" y1="0" x2="${x}" y2="${height}" />`
  })}`
}

/** What a part is called in a tip. */
export function partName(at: Date, { partMs, to }: ReportPeriod): string {
  const end = new Date(Math.min(to.getTime(), at.getTime() + partMs))
  return `${instant(at)} to ${instant(end)}`
}
