/** The header Retry-After: seconds, or one of HTTP's three forms of a date (RFC 9110, 5.6.7 and 10.2.3). Pure. */

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const time = String.raw`(?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)`
const month = `(?<month>${months.join('|')})`
const forms = [
  // Sun, 06 Nov 1994 08:49:37 GMT
  new RegExp(String.raw`^[A-Z][a-z]{2}, (?<day>\d\d) ${month} (?<year>\d{4}) ${time} GMT$`),
  // Sunday, 06-Nov-94 08:49:37 GMT
  new RegExp(String.raw`^[A-Z][a-z]{5,8}, (?<day>\d\d)-${month}-(?<year>\d\d) ${time} GMT$`),
  // Sun Nov  6 08:49:37 1994
  new RegExp(String.raw`^[A-Z][a-z]{2} ${month} (?<day>[ \d]\d) ${time} (?<year>\d{4})$`),
]

/**
 * Milliseconds to wait from `now` on, never negative, `Infinity` for numbers beyond all bounds; undefined for what is neither seconds
 * nor a date.
 */
export function parseRetryAfter(text: string | undefined, now: Date): number | undefined {
  const value = text?.trim() ?? ''
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const at = parseHttpDate(value, now)
  return at === undefined ? undefined : Math.max(0, at - now.getTime())
}

function parseHttpDate(text: string, now: Date): number | undefined {
  const found = forms.map((form) => form.exec(text)?.groups).find((groups) => groups !== undefined)
  if (found === undefined) return undefined
  const { day, year, hour, minute, second } = found
  const monthIndex = months.indexOf(found['month'] ?? '')
  const at = Date.UTC(fullYear(year ?? '', now), monthIndex, Number(day), Number(hour), Number(minute), Number(second))
  const valid = Number(hour) < 24 && Number(minute) < 60 && Number(second) <= 60
  // 31 Feb is 3 March to Date.UTC.
  return valid && new Date(at - Number(second) * 1000).getUTCDate() === Number(day) ? at : undefined
}

/** Two digits that seem more than 50 years ahead mean the most recent past year with them. */
function fullYear(digits: string, now: Date): number {
  if (digits.length === 4) return Number(digits)
  const thisYear = now.getUTCFullYear()
  const year = thisYear - (thisYear % 100) + Number(digits)
  return year > thisYear + 50 ? year - 100 : year
}
