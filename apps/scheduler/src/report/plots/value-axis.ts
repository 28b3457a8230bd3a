/** What stands beside a plot. Its ends are round, and the lower one is always zero. */
import { roundFigure } from '../figures.js'
import { html, type Html } from '../html.js'

/** @param steps how many labels: 2 for a plot in a line of a table, 3 with one in the middle */
export function valueAxis(most: number, format: (value: number) => string, steps: 2 | 3): Html {
  const values = steps === 2 ? [most, 0] : [most, most / 2, 0]
  const labels = values.map((value) => html`<span>${value === 0 ? '0' : roundFigure(format(value))}</span>`)
  return html`<span class="scale" aria-hidden="true">${labels}</span>`
}
