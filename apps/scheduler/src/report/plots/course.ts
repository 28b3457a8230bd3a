/** The course of a size over days, from zero, with its forecast as a dashed line inside a band. */
import type { SizePoint } from '@battlescope/scheduler-core'
import { dayNumber, type Forecast } from '../forecast.js'
import { html, type Html } from '../html.js'
import { coordinate } from './scale.js'
import { quarterLines } from './time-axis.js'

const height = 100

export interface Course {
  /** Oldest first, at least two. */
  readonly points: readonly SizePoint[]
  readonly forecast?: Forecast | undefined
  /** The upper end of the axis. */
  readonly most: number
  readonly label: string
}

export function course({ points, forecast, most, label }: Course): Html {
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined) return html``
  const start = dayNumber(first)
  const measured = dayNumber(last) - start
  const width = Math.max(1, measured + (forecast?.aheadDays ?? 0))
  const x = (day: number) => coordinate((day / width) * 100)
  const y = (value: number) => coordinate(height - (Math.min(value, most) / most) * height)
  const line = points.map((point) => `${x(dayNumber(point) - start)},${y(point.bytes)}`).join(' ')
  return html`<svg
    class="course"
    viewBox="0 0 100 ${height}"
    preserveAspectRatio="none"
    role="img"
    aria-label="${label}"
  >
    ${quarterLines(100, height)}
    <line class="grid" x1="0" y1="${height / 2}" x2="100" y2="${height / 2}" />
    <polygon class="area" points="${`0,${height} ${line} ${x(measured)},${height}`}" />
    ${
      forecast === undefined
        ? undefined
        : html`<polygon
              class="band"
              points="${`${x(measured)},${y(last.bytes)} ${x(width)},${y(forecast.highBytes)} ${x(width)},${y(forecast.lowBytes)}`}"
            /><line
              class="ahead"
              x1="${x(measured)}"
              y1="${y(last.bytes)}"
              x2="${x(width)}"
              y2="${y(forecast.bytes)}"
            />`
    }
    <polyline class="line" points="${line}" />
    <line class="ground" x1="0" y1="${height}" x2="100" y2="${height}" />
  </svg>`
}
