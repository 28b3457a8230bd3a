/** Numbers as people read them, always with their unit. */

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** 1234567 → `1,234,567` */
export function count(value: number): string {
  return grouped.format(value)
}

/** `1 run`, `2 runs` */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`
}

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Three significant digits: `12.3 GiB` */
export function bytes(value: number): string {
  const size = Math.abs(value)
  const sign = value < 0 ? '−' : ''
  // What would be rounded to four digits before the point is one of the next unit.
  let power = size < 1 ? 0 : Math.min(byteUnits.length - 1, Math.floor(Math.log2(size) / 10))
  if (power < byteUnits.length - 1 && size / 1024 ** power >= 999.5) power += 1
  return `${sign}${threeDigits(size / 1024 ** power, power === 0)} ${byteUnits[power] ?? ''}`
}

/** With its sign: `+1.2 MiB` */
export function change(value: number, format: (value: number) => string): string {
  return value > 0 ? `+${format(value)}` : format(value)
}

function threeDigits(value: number, whole: boolean): string {
  if (whole || value >= 99.95) return value.toFixed(0)
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

const [secondMs, minuteMs, hourMs, dayMs] = [1000, 60_000, 3_600_000, 86_400_000]

/** Two units at most: `850 ms`, `13.3 s`, `4 min 10 s`, `3 d 4 h` */
export function duration(ms: number): string {
  if (ms < 999.5) return `${ms.toFixed(0)} ms`
  if (ms < 59_950) return `${threeDigits(ms / secondMs, false)} s`
  const two = (large: number, largeUnit: string, small: number, smallUnit: string) => {
    const rounded = Math.round(ms / small)
    const [whole, rest] = [Math.floor((rounded * small) / large), rounded % Math.round(large / small)]
    return rest === 0 ? `${whole} ${largeUnit}` : `${whole} ${largeUnit} ${rest} ${smallUnit}`
  }
  if (ms < hourMs - secondMs / 2) return two(minuteMs, 'min', secondMs, 's')
  if (ms < 2 * dayMs - minuteMs / 2) return two(hourMs, 'h', minuteMs, 'min')
  return two(dayMs, 'd', hourMs, 'h')
}

/** Of a share of a whole: 100 % and 0 % are only said of all and none. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return '–'
  const value = (part / whole) * 100
  if (part !== whole && value > 99.9) return '99.9 %'
  if (part !== 0 && value < 0.1) return '0.1 %'
  return `${Number.isInteger(value) ? value : value.toFixed(1)} %`
}

/** For an end of an axis, which is round: `10 s` instead of `10.0 s`. */
export function roundFigure(text: string): string {
  return text.replace(/\.(\d*?)0+(?= )/, (_, digits: string) => (digits === '' ? '' : `.${digits}`))
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** `2026-11-25 18:07`, UTC: the page says so once. */
export function instant(at: Date): string {
  return at.toISOString().slice(0, 16).replace('T', ' ')
}

/** `25 Nov` */
function dayOf(at: Date): string {
  return `${at.getUTCDate()} ${months[at.getUTCMonth()] ?? ''}`
}

/** `25 Nov 18:00`, or the day alone where parts are days. */
export function partInstant(at: Date, partMs: number): string {
  return partMs >= dayMs ? dayOf(at) : `${dayOf(at)} ${at.toISOString().slice(11, 16)}`
}

/** `4 min ago`, `in 2 h 10 min` */
export function fromNow(at: Date, now: Date): string {
  const ms = at.getTime() - now.getTime()
  if (Math.abs(ms) < secondMs) return 'now'
  // Seconds beside minutes are of no use to anybody.
  const away = Math.abs(ms) < minuteMs ? Math.abs(ms) : Math.floor(Math.abs(ms) / minuteMs) * minuteMs
  return ms < 0 ? `${duration(away)} ago` : `in ${duration(away)}`
}
