/** How alerts are named, here and at providers, and how people name many of them. */
import { createHash } from 'node:crypto'

/** PagerDuty's limit for a dedup key, the shortest of all. */
const longestKey = 255
const hashLength = 16

/** The scheduler's own alerts; no task may have this name. */
const ownPrefix = 'scheduler'

/** The name of an alert: what `status` shows, and what patterns of mutes and routes match. */
export function alertName(task: string | undefined, findingKey: string): string {
  return `${task ?? ownPrefix}/${findingKey}`
}

/**
 * What providers know an alert by: printable ASCII without spaces, at most 255 characters, a pure function of its arguments. What would
 * not fit is replaced by a hash of all of it, so that two keys which differ never become one.
 */
export function dedupKey(installation: string, name: string): string {
  const whole = `${installation}:${name}`
  if (whole.length <= longestKey && /^[\x21-\x7e]+$/.test(whole)) return whole
  const readable = whole.replaceAll(/[^\x21-\x7e]/g, '_').slice(0, longestKey - hashLength - 1)
  return `${readable}~${shortHash(whole)}`
}

/** 64 bits of SHA-256, in hexadecimal. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, hashLength)
}

/** A UUID that is a pure function of `text`, for messages that two processes may make at once. */
export function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}

/** `*` stands for any characters, `/` among them; everything else for itself. */
export function matchesPattern(pattern: string, name: string): boolean {
  // Not by a regular expression: one with many stars takes for ever.
  const [first = '', ...rest] = pattern.split('*')
  if (rest.length === 0) return name === pattern
  const last = rest.pop() ?? ''
  if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last)) return false
  let from = first.length
  const end = name.length - last.length
  for (const part of rest) {
    const at = name.indexOf(part, from)
    if (at < 0 || at + part.length > end) return false
    from = at + part.length
  }
  return true
}
