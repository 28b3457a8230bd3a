/** A value for each part of a period, as bars that stand on zero. */
import { html, type Html } from '../html.js'
import { coordinate } from './scale.js'
import { quarterLines } from './time-axis.js'

const height = 100
const gap = 0.12

export interface Bars {
  /** One per part; undefined and 0 leave no bar. */
  readonly values: readonly (number | undefined)[]
  /** The upper end of the axis. */
  readonly most: number
  readonly tip: (index: number, value: number) => string
  readonly label: string
  /** A class, for the colour. */
  readonly kind: string
}

export function bars({ values, most, tip, label, kind }: Bars): Html {
  const width = values.length
  return html`<svg
    class="bars ${kind}"
    viewBox="0 0 ${width} ${height}"
    preserveAspectRatio="none"
    role="img"
    aria-label="${label}"
  >
    ${quarterLines(width, height)}
    <line class="grid" x1="0" y1="${height / 2}" x2="${width}" y2="${height / 2}" />
    ${values.map((value, index) => {
      if (value === undefined || value <= 0) return undefined
      // One that is there must be seen.
      const tall = Math.max(1.5, (value / most) * height)
      return html`<rect
        x="${coordinate(index + gap / 2)}"
        y="${coordinate(height - tall)}"
        width="${coordinate(1 - gap)}"
        height="${coordinate(tall)}"
        ><title>${tip(index, value)}</title></rect
      >`
    })}
    <line class="ground" x1="0" y1="${height}" x2="${width}" y2="${height}" />
  </svg>`
}
