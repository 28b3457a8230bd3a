/** The one place where findings are made. */
import type { Finding, Severity } from '@battlescope/scheduler-core'
import type { AnyCheck, CheckOptions, Found, Outcome, UnknownCause } from './check.js'

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

/**
 * Checks that miss one and the same thing are one thing to say: a grant that is missing is one mistake, not eight. Its key says what is
 * missing, also when a single check misses it: the number of checks changes, and the alert stays the same.
 */
export function gathered(findings: readonly Finding[]): readonly Finding[] {
  const groups = new Map<string, readonly Finding[]>()
  for (const finding of findings) {
    const key = sharedKeyOf(finding) ?? finding.key
    groups.set(key, [...(groups.get(key) ?? []), finding])
  }
  return [...groups].flatMap(([key, group]) => {
    const [first] = group
    if (first === undefined || sharedKeyOf(first) === undefined) return group
    const { cause, reason } = first.details ?? {}
    return [
      {
        ...first,
        key,
        summary: `${group.length} ${group.length === 1 ? 'check is' : 'checks are'} unknown: ${String(reason)}`,
        details: { cause, reason, checks: group.map((one) => one.key.replace(/:unknown$/, '')) },
      },
    ]
  })
}

/** Undefined where nothing is said to be missing: of an error that was thrown, nobody knows who else would meet it. */
function sharedKeyOf({ details }: Finding): string | undefined {
  const missing = details?.['missing']
  return typeof missing === 'string' ? keyOf({ key: 'unknown' }, missing) : undefined
}

/** What nobody configured is worth knowing, and no reason to wake anybody. */
const severityOf: Readonly<Record<UnknownCause, Severity>> = {
  'not-configured': 'info',
  'not-permitted': 'warning',
  'no-answer': 'warning',
}

/** Milliseconds: a statement that was too slow once, or a connection that was lost, is no reason to wake anybody either. */
const leastSilenceMs = 15 * 60_000

export function unknownFinding(
  check: AnyCheck,
  { cause, reason, missing, dependsOn }: Extract<Outcome<never>, { outcome: 'unknown' }>,
  options: CheckOptions,
): Finding {
  return {
    key: keyOf(check, 'unknown'),
    severity: severityOf[cause],
    summary: `${check.key} is unknown: ${reason}`,
    details: { cause, reason, check: check.description, ...(missing === undefined ? {} : { missing }) },
    holdDownMs: cause === 'no-answer' ? Math.max(options.holdDown, leastSilenceMs) : options.holdDown,
    ...(dependsOn === undefined ? {} : { dependsOn }),
  }
}
