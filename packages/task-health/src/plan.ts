/** Pure: which checks are due, what stands in the way of one, and what a run leaves behind. */
import { codeOf, severities, type ClientKind, type Finding } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { notApplicable, unknown, type AnyCheck, type AnyOptions, type Needs, type Outcome } from './check.js'
import { findingsOf, gathered, keyOf, unknownFinding } from './findings.js'
import type { Catalog } from './queries.js'

export const states = ['ok', 'found', 'unknown', 'not-applicable'] as const
export type State = (typeof states)[number]

const findingSchema = z.object({
  key: z.string(),
  severity: z.enum(severities),
  summary: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
  holdDownMs: z.number().optional(),
  dependsOn: z.array(z.string()).optional(),
})

const entrySchema = z.object({
  /** When it was made, in milliseconds since 1970. */
  madeAtMs: z.number(),
  /** The slot in which it was made: the rest of a slot does not make it again. */
  slotId: z.string(),
  /** With which options: others make it due at once. */
  options: z.string(),
  state: z.enum(states),
  findings: z.array(findingSchema),
  /** When it was last measured, and what it remembered then. */
  memory: z.object({ atMs: z.number(), value: z.unknown() }).optional(),
})

export const cursorSchema = z.object({ checks: z.record(z.string(), entrySchema) })
export type Entry = z.output<typeof entrySchema>
export type Cursor = z.output<typeof cursorSchema>

export interface Chosen {
  readonly check: AnyCheck
  readonly options: AnyOptions
  /** Of the last time that it was made. */
  readonly before: Entry | undefined
}

export interface Occasion {
  readonly slotId: string
  readonly now: Date
}

export function choose(
  checks: readonly AnyCheck[],
  optionsOf: (check: AnyCheck) => AnyOptions,
  cursor: Cursor | undefined,
): readonly Chosen[] {
  return checks
    .map((check) => ({ check, options: optionsOf(check), before: cursor?.checks[check.key] }))
    .filter(({ options }) => options.enabled)
}

/** Those that are due, the one that was not made for longest first: what a run does not come to is first in the next. */
export function planChecks(chosen: readonly Chosen[], occasion: Occasion): readonly Chosen[] {
  return chosen
    .filter((one) => isDue(one, occasion))
    .sort((a, b) => (a.before?.madeAtMs ?? 0) - (b.before?.madeAtMs ?? 0))
}

/**
 * With an interval, a check is due in the first run of each span of that length. Spans of different checks begin at different times, so
 * that those of six hours do not all come in one run; and they do not drift, as "six hours after the last time" would.
 */
export function isDue({ check, options, before }: Chosen, { slotId, now }: Occasion): boolean {
  if (before === undefined || before.options !== fingerprint(options)) return true
  if (before.slotId === slotId) return false
  if (options.interval === undefined || before.state === 'unknown') return true
  const everyMs = options.interval
  const span = (ms: number) => Math.floor((ms + (hash(check.key) % everyMs)) / everyMs)
  return span(before.madeAtMs) !== span(now.getTime())
}

/** A changed threshold shows at once, whatever the interval. */
function fingerprint(options: AnyOptions): string {
  return hash(JSON.stringify(options)).toString(36)
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0
  }
  return value
}

/** How a kind of client is given. */
const configuredBy: Readonly<Partial<Record<ClientKind | (string & {}), string>>> = { redis: 'REDIS_URL is not set' }

/** Why a check cannot be made, before anything is read for it; undefined when nothing is in the way. */
export function obstacleOf(
  needs: Needs,
  catalog: Catalog,
  hasClient: (kind: ClientKind) => boolean,
): Outcome<never, never> | undefined {
  for (const { relation, columns } of needs.relations ?? []) {
    const facts = catalog.relations.get(relation)
    if (facts?.exists !== true) return notApplicable(`there is no relation ${relation}`)
    const missing = columns.filter((column) => !facts.columns.has(column))
    if (missing.length > 0) return notApplicable(`${relation} has no column ${missing.join(', ')}`)
    if (facts.missingPrivileges.length > 0) {
      const grants = facts.missingPrivileges.map((privilege) => `GRANT ${privilege} TO ${catalog.user}`)
      return unknown('not-permitted', `the grant is missing: ${grants.join('; ')}`, { missing: `select-${relation}` })
    }
  }
  for (const role of needs.roles ?? []) {
    if (!catalog.roles.has(role)) {
      return unknown('not-permitted', `the grant is missing: GRANT ${role} TO ${catalog.user}`, {
        missing: `grant-${role}`,
      })
    }
  }
  for (const kind of needs.clients ?? []) {
    if (!hasClient(kind)) {
      return unknown('not-configured', configuredBy[kind] ?? `no client '${kind}' is configured`, { missing: kind })
    }
  }
  return undefined
}

/** What a check that threw did not get. Judged by codes: messages are for people. */
export function unknownFrom(error: unknown): Outcome<never, never> {
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  if (code === '42501' || code === 'redis-permission') return unknown('not-permitted', message)
  if (code === 'redis-not-configured') return unknown('not-configured', message)
  if (code === '57014') return unknown('no-answer', 'a statement took longer than one second and was cancelled')
  return unknown('no-answer', message)
}

/** What is known of a check after it was made. */
export function entryOf(
  { check, options, before }: Chosen,
  outcome: Outcome<unknown>,
  { slotId, now }: Occasion,
): Entry {
  const atMs = now.getTime()
  const made = { madeAtMs: atMs, slotId, options: fingerprint(options) }
  switch (outcome.outcome) {
    case 'measured': {
      const findings = findingsOf(check, check.judge(outcome.reading, options), options).map(stored)
      const state = findings.length === 0 ? 'ok' : 'found'
      const { memory } = outcome
      return { ...made, state, findings, ...(memory === undefined ? {} : { memory: { atMs, value: memory } }) }
    }
    case 'unknown': {
      // What was wrong when it was last measured has not become right because nobody can look.
      const kept = (before?.findings ?? []).filter(({ key }) => key !== keyOf(check, 'unknown'))
      const findings = [stored(unknownFinding(check, outcome, options)), ...kept]
      return { ...made, state: 'unknown', findings, ...(before?.memory === undefined ? {} : { memory: before.memory }) }
    }
    case 'not-applicable':
      return { ...made, state: 'not-applicable', findings: [] }
  }
}

function stored({ dependsOn, details, ...finding }: Finding): Entry['findings'][number] {
  return {
    ...finding,
    ...(details === undefined ? {} : { details: { ...details } }),
    ...(dependsOn === undefined ? {} : { dependsOn: [...dependsOn] }),
  }
}

/** Of all checks that are on: what was made now, else what was known before. Checks that are off, or gone, are forgotten. */
export function nextCursor(chosen: readonly Chosen[], made: ReadonlyMap<string, Entry>): Cursor {
  const entries = chosen.flatMap(({ check, before }) => {
    const entry = made.get(check.key) ?? before
    return entry === undefined ? [] : [[check.key, entry] as const]
  })
  return { checks: Object.fromEntries(entries) }
}

export function findingsIn(cursor: Cursor): readonly Finding[] {
  return gathered(Object.values(cursor.checks).flatMap(({ findings }) => findings as readonly Finding[]))
}

/** How many checks are in which state; every state is named, so that no series comes and goes. */
export function countStates(cursor: Cursor): Readonly<Record<State, number>> {
  const all = Object.values(cursor.checks)
  const count = (state: State) => all.filter((entry) => entry.state === state).length
  return {
    ok: count('ok'),
    found: count('found'),
    unknown: count('unknown'),
    'not-applicable': count('not-applicable'),
  }
}
