import type { Assignments } from './assignments.js'
import { mask } from './display.js'
import type { Problem } from './problems.js'

/** A schema's author may quote one option's value in a message about another. */
export function withoutSecrets(problems: readonly Problem[], assignments: Assignments): Problem[] {
  const secrets = [...assignments.values].flatMap(([option, { value, text }]) =>
    option.secret === false ? [] : [...textsIn(text), ...textsIn(value)],
  )
  const shortestMasked = 4
  const known = [...new Set(secrets.filter((secret) => secret.length >= shortestMasked))].sort(
    (a, b) => b.length - a.length,
  )
  const clean = (text: string) => known.reduce((masked, secret) => masked.replaceAll(secret, mask), text)
  return problems.map((problem) => ({
    ...problem,
    ...(problem.given === undefined ? {} : { given: clean(problem.given) }),
    expected: clean(problem.expected),
    ...(problem.hint === undefined ? {} : { hint: clean(problem.hint) }),
  }))
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') {
    if (!URL.canParse(value)) return [value]
    const { password } = new URL(value)
    return password === '' ? [value] : [value, password, safelyDecoded(password)]
  }
  if (value === null || typeof value !== 'object') return []
  return Object.values(value).flatMap(textsIn)
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
