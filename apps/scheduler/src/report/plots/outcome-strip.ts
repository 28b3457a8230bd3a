/** One lane of the timeline: for each part of the period the worst that happened, told by height and shape first, by colour second. */
import type { Outcome } from '@battlescope/scheduler-core'
import { html, type Html } from '../html.js'
import { quarterLines } from './time-axis.js'

/** Worst first. */
export const worstFirst = [
  'failed',
  'timed-out',
  'cancelled',
  'partial',
  'succeeded',
  'skipped',
] as const satisfies readonly Outcome[]

/** Bars stand on the ground; what went wrong reaches the top, with a notch. */
const shapes: Readonly<Record<Outcome, { readonly height: number; readonly notched: boolean }>> = {
  failed: { height: 20, notched: true },
  'timed-out': { height: 20, notched: true },
  cancelled: { height: 14, notched: true },
  partial: { height: 14, notched: false },
  succeeded: { height: 9, notched: false },
  skipped: { height: 3, notched: false },
}
const height = 20
const gap = 0.12

export interface StripCell {
  readonly outcome: Outcome
  readonly tip: string
}

/** @param cells one per part; undefined where nothing ran */
export function outcomeStrip(cells: readonly (StripCell | undefined)[], label: string): Html {
  const width = cells.length
  return html`<svg
    class="strip"
    viewBox="0 0 ${width} ${height}"
    preserveAspectRatio="none"
    role="img"
    aria-label="${label}"
  >
    ${quarterLines(width, height)}
    <line class="ground" x1="0" y1="${height}" x2="${width}" y2="${height}" />
    ${cells.map((cell, index) => (cell === undefined ? undefined : bar(cell.outcome, index, cell.tip)))}
  </svg>`
}

/** What the shapes mean. */
export function outcomeLegend(): Html {
  const one = (outcome: Outcome, text: string) =>
    html`<li>
      <svg class="swatch" viewBox="0 0 1 ${height}" preserveAspectRatio="none" aria-hidden="true">
        ${bar(outcome, 0)}</svg
      >${text}
    </li>`
  return html`<ul class="legend">
    ${one('succeeded', 'succeeded')}${one('partial', 'partial: goes on in the next run')}${one('skipped', 'skipped')}${one('cancelled', 'cancelled: stopped from outside')}${one('failed', 'failed or timed out')}
    <li><span class="swatch nothing"></span>nothing ran</li>
  </ul>`
}

function bar(outcome: Outcome, x: number, tip?: string): Html {
  const shape = shapes[outcome]
  const title = tip === undefined ? undefined : html`<title>${tip}</title>`
  const rect = (y: number, tall: number) =>
    html`<rect x="${x + gap / 2}" y="${y}" width="${1 - gap}" height="${tall}" />`
  const top = height - shape.height
  const body = shape.notched ? [rect(top, 4), rect(top + 7, shape.height - 7)] : rect(top, shape.height)
  return html`<g class="${outcome}">${title}${body}</g>`
}
