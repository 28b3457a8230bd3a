import type { RelationGrowth, SizePoint } from '@battlescope/scheduler-core'
import type { ReportFacts } from '../facts.js'
import { bytes, change, count } from '../figures.js'
import { dayNumber, forecastOf, leastForecastDays, type Forecast } from '../forecast.js'
import { html, type Content, type Html } from '../html.js'
import { course } from '../plots/course.js'
import { roundUpBytes } from '../plots/scale.js'
import { timeAxis } from '../plots/time-axis.js'
import { valueAxis } from '../plots/value-axis.js'
import { table } from '../table.js'
import { empty, type Section } from './section.js'

const dayMs = 86_400_000
const mostOpen = 8

export function growth({ rows }: ReportFacts): Section {
  const title = 'Relations: growth and forecast'
  const read = rows?.growth
  const newest = read?.total.at(-1)
  if (read === undefined || newest === undefined)
    return {
      id: 'growth',
      title,
      body: empty('No size was measured in this period. The task `statistics` measures each relation once a day.'),
    }
  const more = read.relationCount - read.relations.length
  return {
    id: 'growth',
    title,
    lead: html`Heap, TOAST and indexes together, as the task <code>statistics</code> measured them once a UTC day. A
      forecast is the straight line through the period, no further ahead than the measurements reach back; the range is
      two standard errors. It knows nothing of what you plan.`,
    body: html`${total(read.total, read.relationCount)}${table<RelationGrowth>(
      'Relations by size',
      [
        { heading: 'Relation', cell: ({ relation }) => relation },
        { heading: 'Size', cell: (one) => bytes(sizeOf(one)), numeric: true },
        { heading: 'Indexes', cell: ({ indexBytes }) => bytes(indexBytes), numeric: true },
        {
          heading: 'Rows, estimated',
          cell: ({ rowEstimate }) => (rowEstimate === undefined ? 'not analyzed' : count(rowEstimate)),
          numeric: true,
        },
        { heading: 'Change in the period', cell: ({ points }) => changeOf(points), numeric: true },
        { heading: 'Forecast', cell: ({ points }) => forecastText(forecastOf(points)), numeric: true },
        { heading: 'Course, from 0', cell: spark, wide: true },
      ],
      read.relations,
      mostOpen,
    )}${more > 0 ? html`<p class="note">The ${read.relations.length} largest of ${read.relationCount} relations are shown.</p>` : undefined}`,
  }
}

function total(points: readonly SizePoint[], relations: number): Html {
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined) return html``
  const now = html`<b>${bytes(last.bytes)}</b> in ${count(relations)} relations on ${last.day}`
  if (points.length < 2)
    return html`<p>
      All together: ${now}. One day is measured so far: a course needs two, a forecast ${leastForecastDays}.
    </p>`
  const forecast = forecastOf(points)
  const most = roundUpBytes(Math.max(...points.map((point) => point.bytes), forecast?.highBytes ?? 0))
  const end = dayNumber(last) + (forecast?.aheadDays ?? 0)
  const label = `size of all relations from ${first.day} (${bytes(first.bytes)}) to ${last.day} (${bytes(last.bytes)})${forecast === undefined ? '' : `, and its forecast: ${plainForecast(forecast)}`}`
  const plot = course({ points, forecast, most, label })
  const axis = timeAxis(new Date(dayNumber(first) * dayMs), end * dayMs, dayMs)
  return html`<figure>
    <figcaption>
      All together: ${now}; ${changeOf(points)} since ${first.day}.
      ${
        forecast === undefined
          ? `A forecast needs measurements over ${leastForecastDays} days.`
          : html`Forecast (dashed): ${forecastText(forecast)}`
      }
    </figcaption>
    <div class="plot">${valueAxis(most, bytes, 3)}${plot}</div>
    <div class="plot below"><span></span>${axis}</div>
  </figure>`
}

function changeOf(points: readonly SizePoint[]): Content {
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined || points.length < 2) return '–'
  return change(last.bytes - first.bytes, bytes)
}

function forecastText(forecast: Forecast | undefined): Content {
  if (forecast === undefined) return 'too few days'
  return html`${bytes(forecast.bytes)} in ${forecast.aheadDays} days${' '}<small
      >${bytes(forecast.lowBytes)} to ${bytes(forecast.highBytes)}, ${change(forecast.perDayBytes, bytes)} a day</small
    >`
}

function plainForecast({ bytes: size, aheadDays, lowBytes, highBytes }: Forecast): string {
  return `${bytes(size)} in ${aheadDays} days, ${bytes(lowBytes)} to ${bytes(highBytes)}`
}

function sizeOf({ heapBytes, toastBytes, indexBytes }: RelationGrowth): number {
  return heapBytes + toastBytes + indexBytes
}

function spark({ relation, points }: RelationGrowth): Content {
  if (points.length < 2) return 'one day'
  const most = roundUpBytes(Math.max(...points.map((point) => point.bytes)))
  const plot = course({ points, most, label: `size of ${relation} over the period, from 0 to ${bytes(most)}` })
  return html`<span class="spark">${plot}${valueAxis(most, bytes, 2)}</span>`
}
