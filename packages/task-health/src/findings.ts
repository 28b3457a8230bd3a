/** The one place where findings are made. */
import type { Finding, Severity } from '@battlescope/scheduler-core'
import type { AnyCheck, CheckOptions, Found, UnknownCause } from './check.js'

/** Findings that one check may have in one run: whoever has more than that to say has one thing to say. */
export const mostFindings = 20

/** `check`, or `check:subject`. Core allows 200 characters. */
export function keyOf(check: Pick<AnyCheck, 'key'>, subject?: string): string {
  return (subject === undefined ? check.key : `${check.key}:${subject}`).slice(0, 200)
}

function findingOf(check: AnyCheck, found: Found, options: CheckOptions): Finding {
  return {
    key: keyOf(check, found.subject),
    severity: found.severity ?? options.severity,
    summary: found.summary,
    details: { ...found.details, hint: found.hint ?? check.hint },
    holdDownMs: options.holdDown,
    ...(found.dependsOn === undefined ? {} : { dependsOn: found.dependsOn }),
  }
}

/** What is beyond the limit is counted in the last one. */
export function findingsOf(check: AnyCheck, found: readonly Found[], options: CheckOptions): readonly Finding[] {
  const shown = found.slice(0, mostFindings).map((one) => findingOf(check, one, options))
  const more = found.length - shown.length
  const last = shown.at(-1)
  if (more === 0 || last === undefined) return shown
  return [...shown.slice(0, -1), { ...last, summary: `${last.summary} (and ${more} more)` }]
}

/** What nobody configured is worth knowing, and no reason to wake anybody. */
const severityOf: Readonly<Record<UnknownCause, Severity>> = {
  'not-configured': 'info',
  'not-permitted': 'warning',
  'no-answer': 'warning',
}

export function unknownFinding(
  check: AnyCheck,
  { cause, reason, dependsOn }: { cause: UnknownCause; reason: string; dependsOn?: readonly string[] },
  options: CheckOptions,
): Finding {
  return {
    key: keyOf(check, 'unknown'),
    severity: severityOf[cause],
    summary: `${check.key} is unknown: ${reason}`,
    details: { cause, check: check.description },
    holdDownMs: options.holdDown,
    ...(dependsOn === undefined ? {} : { dependsOn }),
  }
}
