import { classifyFailure, codeOf, hintOf, messageOf } from '../errors.js'
import type { Outcome } from '../state/tables.js'
import type { Change, Finding, TaskResult } from '../task.js'
import type { SafeText } from './safe-text.js'

/** How a run of a task ended, before it is recorded. */
export interface RunOutcome {
  readonly outcome: Outcome
  readonly reason: string | undefined
  readonly errorCode: string | undefined
  /** For the log: what to do about a failure. */
  readonly hint?: string | undefined
  readonly remaining: number | undefined
  readonly findings: readonly Finding[]
  readonly changes: readonly Change[]
  readonly lostClaim: boolean
}

/** Why a run was aborted; the reason of the run's AbortSignal. */
export class RunAborted extends Error {
  override readonly name = 'RunAborted'
  readonly code: 'timed-out' | 'stopped' | 'lost-claim'
  constructor(code: RunAborted['code'], message: string) {
    super(message)
    this.code = code
  }
}

export function outcomeOfResult(result: unknown, safe: SafeText): RunOutcome {
  const problem = resultProblem(result)
  if (problem !== undefined) return failure('invalid-result', `the task returned ${problem}`)
  const valid = result as TaskResult
  return {
    outcome: valid.outcome,
    reason: valid.outcome === 'skipped' ? safe.text(messageOf(valid.reason)) : undefined,
    errorCode: undefined,
    remaining: valid.outcome === 'partial' ? valid.remaining : undefined,
    findings: (valid.findings ?? []).map(({ key, severity, summary, details, holdDownMs, dependsOn }) => ({
      key: safe.text(key.slice(0, 200)),
      severity,
      summary: safe.text(messageOf(summary)),
      ...(details === undefined ? {} : { details: safe.json(details) ?? {} }),
      ...(holdDownMs === undefined ? {} : { holdDownMs: Math.round(holdDownMs) }),
      ...(dependsOn === undefined ? {} : { dependsOn: dependsOn.map((name) => safe.text(name.slice(0, 250))) }),
    })),
    changes: valid.outcome === 'succeeded' ? (valid.changes ?? []).map((change) => safeChange(change, safe)) : [],
    lostClaim: false,
  }
}

function safeChange({ key, summary, details, links }: Change, safe: SafeText): Change {
  return {
    key: safe.text(key.slice(0, 200)),
    summary: safe.text(messageOf(summary)),
    ...(details === undefined ? {} : { details: safe.json(details) ?? {} }),
    ...(links === undefined
      ? {}
      : {
          links: links.map(({ href, text }) => ({
            href: safe.text(href),
            ...(text === undefined ? {} : { text: safe.text(text) }),
          })),
        }),
  }
}

/** What a task returns is not ours: it must have one of the three forms and survive JSON. */
function resultProblem(result: unknown): string | undefined {
  if (typeof result !== 'object' || result === null) return `${typeof result} instead of a result`
  const { outcome, reason, remaining, findings = [], changes = [] } = result as Record<string, unknown>
  if (outcome !== 'succeeded' && outcome !== 'partial' && outcome !== 'skipped')
    return `the unknown outcome ${JSON.stringify(outcome) ?? 'undefined'}`
  if (outcome === 'skipped' && typeof reason !== 'string') return 'skipped without a reason'
  if (
    remaining !== undefined &&
    !(typeof remaining === 'number' && Number.isSafeInteger(remaining) && remaining >= 0)
  ) {
    return 'a remaining backlog that is no whole number'
  }
  if (!Array.isArray(findings)) return 'findings that are no array'
  for (const finding of findings as unknown[]) {
    const { key, severity, summary, holdDownMs, dependsOn } = (finding ?? {}) as Record<string, unknown>
    const known = ['info', 'warning', 'error', 'critical'].includes(severity as string)
    if (typeof key !== 'string' || typeof summary !== 'string' || !known)
      return 'a finding without key, severity or summary'
    if (holdDownMs !== undefined && !(typeof holdDownMs === 'number' && holdDownMs >= 0 && Number.isFinite(holdDownMs)))
      return 'a finding whose holdDownMs is no number of milliseconds'
    if (dependsOn !== undefined && !(Array.isArray(dependsOn) && dependsOn.every((name) => typeof name === 'string')))
      return 'a finding whose dependsOn is no array of keys'
  }
  try {
    JSON.stringify(findings)
  } catch {
    return 'findings that are not JSON-safe'
  }
  return changesProblem(outcome, changes)
}

function changesProblem(outcome: string, changes: unknown): string | undefined {
  if (!Array.isArray(changes)) return 'changes that are no array'
  if (changes.length > 0 && outcome !== 'succeeded') return `changes although it was ${outcome}: they come with success`
  for (const change of changes as unknown[]) {
    const { key, summary, links = [] } = (change ?? {}) as Record<string, unknown>
    if (typeof key !== 'string' || typeof summary !== 'string') return 'a change without key or summary'
    if (!Array.isArray(links) || !links.every(isLink))
      return 'a change whose links are no array of http:// or https:// addresses'
  }
  try {
    JSON.stringify(changes)
  } catch {
    return 'changes that are not JSON-safe'
  }
  return undefined
}

function isLink(link: unknown): boolean {
  const { href, text = '' } = (link ?? {}) as Record<string, unknown>
  return typeof href === 'string' && /^https?:\/\//.test(href) && URL.canParse(href) && typeof text === 'string'
}

/** The outcome of a run that threw, or was aborted for `aborted`'s reason. */
export function outcomeOfError(error: unknown, aborted: unknown, safe: SafeText): RunOutcome {
  const cause = aborted instanceof RunAborted ? aborted : error
  if (classifyFailure(cause) === 'lost-claim')
    return { ...failure('lost-claim', safe.text(messageOf(cause))), lostClaim: true }
  if (aborted instanceof RunAborted) {
    return {
      ...failure(aborted.code, aborted.message),
      outcome: aborted.code === 'timed-out' ? 'timed-out' : 'cancelled',
    }
  }
  const hint = hintOf(error)
  return {
    ...failure(safe.text(codeOf(error) ?? 'error'), safe.text(messageOf(error))),
    hint: hint === undefined ? undefined : safe.text(messageOf(hint)),
  }
}

function failure(errorCode: string, reason: string): RunOutcome {
  return { outcome: 'failed', reason, errorCode, remaining: undefined, findings: [], changes: [], lostClaim: false }
}
