/** Secrets that were given, and every text without them. */
import type { Assignments } from './assignments.js'
import { mask } from './display.js'
import type { Option } from './options.js'
import type { Problem } from './problems.js'

/** A schema's author may quote one option's value in a message about another. */
export function withoutSecrets(problems: readonly Problem[], assignments: Assignments): Problem[] {
  if (problems.length === 0) return []
  // Problems are about options, so even a short secret stands out in one.
  const shortestMasked = 4
  const known = longestFirst(secretTexts(assignments).filter((secret) => secret.length >= shortestMasked))
  const clean = (text: string) => replaceAll(text, known)
  return problems.map((problem) => ({
    ...problem,
    ...(problem.given === undefined ? {} : { given: clean(problem.given) }),
    expected: clean(problem.expected),
    ...(problem.hint === undefined ? {} : { hint: clean(problem.hint) }),
  }))
}

/**
 * What must not be shown of the secrets that are given: the whole values as they were written and as the schemas yielded them, and of URLs
 * the password, as it is written and decoded.
 */
export function secretTexts(assignments: Assignments, effective: ReadonlyMap<Option, unknown> = new Map()): string[] {
  const texts = [...assignments.values].flatMap(([option, { value, text }]) =>
    option.secret === false ? [] : [text, value, effective.get(option)].flatMap(textsIn),
  )
  return [...new Set(texts)]
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value, ...passwordsIn(value)]
  if (value === null || typeof value !== 'object') return []
  return Object.values(value).flatMap(textsIn)
}

/** Of a URL that cannot be read, too: what ends up in a message may be just the piece that made it unreadable. */
function passwordsIn(text: string): string[] {
  const [, user = '', rest = ''] = /^[a-z][a-z0-9+.-]*:\/\/([^:/?#@]*):(.*@.*)$/is.exec(text) ?? []
  const authority = /^[^/?#]*/.exec(rest)?.[0] ?? ''
  // Up to the host, or to the last @, should an unescaped / ? or # be a part of the password.
  const ofUser = [authority, rest].map((part) => part.slice(0, Math.max(0, part.lastIndexOf('@'))))
  const inQuery = [...text.matchAll(/[?&][^=&#]*(?:pass|secret|token|pwd|credential)[^=&#]*=([^&#]+)/gi)]
  return (
    [...ofUser, ...inQuery.map(([, value = '']) => value)]
      // A password that equals the user's name is shown as that anyway; masking it would garble every message that names the user.
      .filter((password) => password !== '' && password !== user)
      .flatMap((password) => [password, safelyDecoded(password)])
  )
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Takes secrets out of texts that are not configuration: logs, records, spans, output. */
export interface Scrubber {
  /** More secrets, such as those of a task that was loaded meanwhile. */
  add(secrets: Iterable<string>): void
  scrub(text: string): string
}

/**
 * Shorter secrets are not looked for. One of five characters is guessed in no time, and its text is a part of ordinary words, so that masking
 * it would garble logs and tell everybody what it is.
 */
const shortestScrubbed = 6

export function createScrubber(): Scrubber {
  const known = new Set<string>()
  let sorted: readonly string[] = []
  return {
    add: (secrets) => {
      for (const secret of secrets) {
        if (secret.trim().length < shortestScrubbed) continue
        // As the secret stands inside JSON, and in one line as messages are recorded.
        for (const form of [secret, JSON.stringify(secret).slice(1, -1), secret.replace(/\s+/g, ' ').trim()])
          known.add(form)
      }
      sorted = longestFirst([...known])
    },
    scrub: (text) => replaceAll(text, sorted),
  }
}

/** A secret that contains another one is masked whole. */
function longestFirst(secrets: readonly string[]): string[] {
  return [...secrets].sort((a, b) => b.length - a.length)
}

function replaceAll(text: string, secrets: readonly string[]): string {
  return secrets.reduce((masked, secret) => masked.replaceAll(secret, mask), text)
}
