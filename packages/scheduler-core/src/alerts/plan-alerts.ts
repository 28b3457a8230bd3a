/**
 * The state of alerts: `pending → firing → resolved`, one row for each finding. Pure: rows and what was found become rows.
 *
 * Only evidence moves an alert. A task that did not run, failed, or stopped half-way says nothing of what it did not mention; a
 * task that ran to its end and does not mention a finding says that it is over. Who is told of it is decided in `plan-messages.ts`.
 */
import { severities, type Finding, type Severity } from '../task.js'
import { alertName, dedupKey, matchesPattern } from './key.js'
import type { AlertPolicy } from './policy.js'

/** How long a resolved alert is remembered. */
const rememberedMs = 7 * 86_400_000

export interface AlertRow {
  /** `task/finding`. */
  readonly name: string
  /** Undefined for the scheduler's own. */
  readonly task: string | undefined
  readonly findingKey: string
  /** What providers know it by: stays what it was when the incident began. */
  readonly key: string
  readonly state: 'pending' | 'firing' | 'resolved'
  readonly severity: Severity
  readonly summary: string
  readonly details: Readonly<Record<string, unknown>>
  readonly dependsOn: readonly string[]
  /** Of this incident. */
  readonly firstSeenAt: Date
  readonly lastSeenAt: Date
  /** When it fired; undefined while pending. Names the incident. */
  readonly openedAt: Date | undefined
  readonly resolvedAt: Date | undefined
  /** Why it was resolved, if not by good runs. */
  readonly resolution: string | undefined
  readonly goodRuns: number
  /** The first and the newest of the good runs in a row. */
  readonly goodSince: Date | undefined
  readonly lastGoodAt: Date | undefined
  /** When it fired within the flapping window, oldest first. */
  readonly openings: readonly Date[]
  readonly flapping: boolean
  /** Why nobody is told of it at present. */
  readonly silence: string | undefined
}

/** What one look at things found. */
export interface Evidence {
  /** Undefined for the scheduler's own look. */
  readonly task: string | undefined
  readonly at: Date
  /** Ran to its end: what it does not mention is over. */
  readonly complete: boolean
  readonly findings: readonly Finding[]
  /** Looks hourly or less often: waiting for another look would take too long. */
  readonly rare: boolean
  /** Whether this look could say nothing of a finding's key. */
  readonly silentOn?: (key: string) => boolean
}

export interface Mute {
  readonly pattern: string
  readonly until: Date
  readonly reason: string | undefined
}

export interface AlertQuestion {
  readonly now: Date
  readonly rows: readonly AlertRow[]
  readonly mutes: readonly Mute[]
  /** In the order in which it was gathered. */
  readonly evidence: readonly Evidence[]
  /** Tasks that are enabled; undefined when not all of them are known in this run. */
  readonly enabled: ReadonlySet<string> | undefined
  /** When a task was seen first, for the grace period. */
  readonly firstSightOf: (task: string | undefined) => Date
  readonly policy: AlertPolicy
  /** Milliseconds between two runs. */
  readonly expectedIntervalMs: number
  /** Names this database in keys. */
  readonly installation: string
}

export interface AlertPlan {
  /** Every row as it is to be. */
  readonly rows: readonly AlertRow[]
  /** Those of them that are not what they were. */
  readonly changed: readonly AlertRow[]
  /** Names of rows that are to be forgotten. */
  readonly forgotten: readonly string[]
  /** For the log. */
  readonly transitions: readonly { readonly name: string; readonly to: 'fires' | 'resolved'; readonly row: AlertRow }[]
}

export function planAlerts(question: AlertQuestion): AlertPlan {
  const rows = new Map(question.rows.map((row) => [row.name, row]))
  for (const evidence of question.evidence) weigh(rows, evidence, question)
  if (question.enabled !== undefined) endRemovedTasks(rows, question.enabled, question.now)
  const forgotten = forget(rows, question)
  silence(rows, question)
  const before = new Map(question.rows.map((row) => [row.name, row]))
  const transitions = [...rows.values()].flatMap((row): AlertPlan['transitions'] => {
    const was = before.get(row.name)
    const incident = row.openedAt?.getTime()
    if (row.state === 'firing' && (was?.state !== 'firing' || was.openedAt?.getTime() !== incident))
      return [{ name: row.name, to: 'fires', row }]
    return row.state === 'resolved' && was?.state === 'firing' ? [{ name: row.name, to: 'resolved', row }] : []
  })
  const changed = [...rows.values()].filter((row) => before.get(row.name) !== row)
  return { rows: [...rows.values()], changed, forgotten, transitions }
}

function weigh(rows: Map<string, AlertRow>, evidence: Evidence, question: AlertQuestion): void {
  const present = worstByName(evidence)
  for (const [name, finding] of present) rows.set(name, seen(rows.get(name), name, finding, evidence, question))
  if (!evidence.complete) return
  for (const row of rows.values()) {
    if (row.task !== evidence.task || row.state === 'resolved' || present.has(row.name)) continue
    if (evidence.silentOn?.(row.findingKey) === true) continue
    rows.set(row.name, good(row, evidence, question))
  }
}

/** A key that is there twice is one finding: the worse. */
function worstByName({ task, findings }: Evidence): ReadonlyMap<string, Finding> {
  const byName = new Map<string, Finding>()
  for (const finding of findings) {
    const name = alertName(task, finding.key)
    const other = byName.get(name)
    if (other === undefined || isWorse(finding.severity, other.severity)) byName.set(name, finding)
  }
  return byName
}

export function isWorse(severity: Severity, than: Severity): boolean {
  return severities.indexOf(severity) > severities.indexOf(than)
}

function seen(
  before: AlertRow | undefined,
  name: string,
  finding: Finding,
  { task, at, rare }: Evidence,
  question: AlertQuestion,
): AlertRow {
  const { policy } = question
  const known = before === undefined || before.state === 'resolved' ? undefined : before
  const row: AlertRow = {
    name,
    task,
    findingKey: finding.key,
    key: known?.key ?? dedupKey(question.installation, name),
    state: known?.state ?? 'pending',
    severity: finding.severity,
    summary: finding.summary,
    details: finding.details ?? {},
    dependsOn: finding.dependsOn ?? [],
    firstSeenAt: known?.firstSeenAt ?? at,
    lastSeenAt: at,
    openedAt: known?.openedAt,
    resolvedAt: undefined,
    resolution: undefined,
    goodRuns: 0,
    goodSince: undefined,
    lastGoodAt: undefined,
    openings: before?.openings ?? [],
    flapping: known?.flapping ?? false,
    silence: before?.silence,
  }
  if (row.state === 'firing') return row
  const holdDownMs = rare ? 0 : (finding.holdDownMs ?? policy.holdDown[finding.severity])
  // A run is never exactly on time: without tolerance a hold-down of one interval would last two.
  const lastedMs = at.getTime() - row.firstSeenAt.getTime() + question.expectedIntervalMs / 10
  const inGrace = at.getTime() < question.firstSightOf(task).getTime() + policy.grace
  if ((holdDownMs > 0 && lastedMs < holdDownMs) || (inGrace && finding.severity !== 'critical')) return row
  const since = at.getTime() - policy.flapping.window
  const openings = [...row.openings.filter((opening) => opening.getTime() > since), at].slice(-policy.flapping.openings)
  return { ...row, state: 'firing', openedAt: at, openings, flapping: openings.length >= policy.flapping.openings }
}

function good(row: AlertRow, { at, rare }: Evidence, { policy, expectedIntervalMs }: AlertQuestion): AlertRow {
  if (row.state === 'pending')
    return { ...row, state: 'resolved', resolvedAt: at, openedAt: undefined, silence: undefined }
  // Two looks within one run are one.
  const isAnother = row.lastGoodAt === undefined || at.getTime() - row.lastGoodAt.getTime() >= expectedIntervalMs / 2
  const goodRuns = isAnother ? row.goodRuns + 1 : row.goodRuns
  const goodSince = row.goodSince ?? at
  const lastGoodAt = isAnother ? at : row.lastGoodAt
  const enough = goodRuns >= (rare ? 1 : policy.resolveAfter)
  const quiet = !row.flapping || at.getTime() - goodSince.getTime() >= policy.flapping.quiet
  const counted = { ...row, goodRuns, goodSince, lastGoodAt }
  return enough && quiet ? { ...counted, state: 'resolved', resolvedAt: at, silence: undefined } : counted
}

/** Nobody will ever say that these are over. */
function endRemovedTasks(rows: Map<string, AlertRow>, enabled: ReadonlySet<string>, now: Date): void {
  for (const row of rows.values()) {
    if (row.task === undefined || row.state === 'resolved' || enabled.has(row.task)) continue
    const resolution = `the task ${row.task} is no longer enabled`
    rows.set(row.name, { ...row, state: 'resolved', resolvedAt: now, resolution, silence: undefined })
  }
}

function forget(rows: Map<string, AlertRow>, { now, policy }: AlertQuestion): readonly string[] {
  const forgotten: string[] = []
  for (const row of rows.values()) {
    if (row.state !== 'resolved') continue
    const never = row.openedAt === undefined
    const flappingSince = now.getTime() - policy.flapping.window
    const mayFlap = row.openings.some((opening) => opening.getTime() > flappingSince)
    const old = now.getTime() - (row.resolvedAt ?? row.lastSeenAt).getTime() >= rememberedMs
    if (old || (never && !mayFlap)) {
      rows.delete(row.name)
      forgotten.push(row.name)
    }
  }
  return forgotten
}

/** Says of each alert that is not over why nobody is told of it: a mute, or another alert of which it is a consequence. */
function silence(rows: Map<string, AlertRow>, { mutes, now }: AlertQuestion): void {
  const parentsOf = (row: AlertRow): readonly AlertRow[] =>
    row.dependsOn.flatMap((key) => {
      const parent = rows.get(alertName(row.task, key)) ?? rows.get(key)
      // Pending ones too, or a consequence with the shorter hold-down would be told first.
      return parent === undefined || parent.state === 'resolved' || parent.name === row.name ? [] : [parent]
    })
  const isAncestor = (of: AlertRow, name: string, visited = new Set<string>()): boolean =>
    parentsOf(of).some((parent) => {
      if (parent.name === name) return true
      if (visited.has(parent.name)) return false
      visited.add(parent.name)
      return isAncestor(parent, name, visited)
    })
  for (const row of rows.values()) {
    if (row.state === 'resolved') continue
    const mute = mutes.find(({ pattern, until }) => until > now && matchesPattern(pattern, row.name))
    // Two findings that name each other would silence each other: such an edge counts for nothing.
    const parent = parentsOf(row).find((each) => !isAncestor(each, row.name))
    const why =
      mute !== undefined
        ? `muted until ${mute.until.toISOString()}${mute.reason === undefined ? '' : `: ${mute.reason}`}`
        : parent === undefined
          ? undefined
          : `follows from ${parent.name}`
    if (why !== row.silence) rows.set(row.name, { ...row, silence: why })
  }
}
