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

/** What one mistake may keep many checks from. */
const shared: ReadonlySet<unknown> = new Set<UnknownCause>(['not-configured', 'not-permitted'])

/** Checks that cannot be made for one and the same reason are one thing to say: a grant that is missing is one mistake, not eight. */
export function gathered(findings: readonly Finding[]): readonly Finding[] {
  const groups = new Map<unknown, readonly Finding[]>()
  for (const finding of findings) {
    const { cause, reason } = finding.details ?? {}
    const group = shared.has(cause) ? reason : finding.key
    groups.set(group, [...(groups.get(group) ?? []), finding])
  }
  return [...groups].flatMap(([reason, group]) => {
    const [first] = group
    if (first === undefined || group.length === 1) return group
    return [
      {
        ...first,
        key: keyOf({ key: 'unknown' }, slugOf(String(reason))),
        summary: `${group.length} checks are unknown: ${String(reason)}`,
        details: {
          cause: first.details?.['cause'],
          reason,
          checks: group.map(({ key }) => key.replace(/:unknown$/, '')),
        },
      },
    ]
  })
}

/** As stable as the text that it is made of. */
function slugOf(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 80)
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
  { cause, reason, dependsOn }: { cause: UnknownCause; reason: string; dependsOn?: readonly string[] },
  options: CheckOptions,
): Finding {
  return {
    key: keyOf(check, 'unknown'),
    severity: severityOf[cause],
    summary: `${check.key} is unknown: ${reason}`,
    details: { cause, reason, check: check.description },
    holdDownMs: cause === 'no-answer' ? Math.max(options.holdDown, leastSilenceMs) : options.holdDown,
    ...(dependsOn === undefined ? {} : { dependsOn }),
  }
}
