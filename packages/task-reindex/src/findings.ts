/** What one run reports of bloat and rebuilds. Pure. */
import { formatDuration, type Finding } from '@battlescope/scheduler-core'
import { indexNameOf, relationOf, type IndexFacts } from './facts.js'
import { formatBytes, type Candidate, type ReindexPlan } from './plan.js'

/** What became of one candidate. */
export interface Attempt {
  readonly candidate: Candidate
  /**
   * `not-now`: something stood in the way, and a later run may try. `too-large`: does not fit into what a run has. `contradicted`: pgstattuple says
   * otherwise. `not-ended`: begun, and given up by the server or by us.
   */
  readonly result: 'rebuilt' | 'not-now' | 'too-large' | 'contradicted' | 'not-ended'
  readonly reason?: string
  readonly predictedMs?: number
}

function rebuildSql({ schema, name }: Pick<IndexFacts, 'schema' | 'name'>): string {
  return `REINDEX INDEX CONCURRENTLY ${indexNameOf({ schema, name })};`
}

/** Whether there is anything to say of leftovers that were not dropped, by index. */
export interface Doubt {
  readonly index: string
  readonly reason: string
}

export function findingsOf(
  plan: ReindexPlan,
  attempts: readonly Attempt[],
  doubts: readonly Doubt[],
): readonly Finding[] {
  const of = (result: Attempt['result']) => attempts.filter((attempt) => attempt.result === result)
  return [
    list(
      'bloated-by-estimate',
      'info',
      'larger than their statistics explain, and not known to have grown',
      plan.suspects,
      {
        hint: 'the first size that is seen is what growth is measured by; to have these rebuilt once, set reindex.when to grown-or-estimated, or run the SQL',
        row: ({ index, estimate }) => ({
          index,
          why: `${formatBytes(index.sizeBytes)}; by estimate ${formatBytes(estimate.lowBytes)} to ${formatBytes(estimate.highBytes)}`,
        }),
      },
    ),
    list('not-owned', 'warning', 'not ours to rebuild', plan.notOwned, {
      hint: 'REINDEX is allowed to MAINTAIN from PostgreSQL 17 on, dropping what a killed one leaves only to the owner: make the role a member of the owner, which `doctor` has the SQL for; and what is left gets another name first: GRANT USAGE, CREATE ON SCHEMA',
      row: ({ index, reason }) => ({ index, why: reason }),
    }),
    list('too-large', 'warning', 'too large for the budget of a run', of('too-large'), {
      hint: 'give it a run of its own: `run --task reindex --force --budget 30m` with SCHEDULER_REINDEX_TIMEOUT=38m (component long-run-reindex), or run the SQL',
      row: ({ candidate, predictedMs = 0 }) => ({
        index: candidate.index,
        why: `${candidate.reason}; would take about ${formatDuration(Math.ceil(predictedMs / 1000) * 1000)}`,
      }),
    }),
    list('waiting', 'warning', 'not rebuilt', of('not-now'), {
      hint: 'the next runs inside the window try again',
      row: ({ candidate, reason = '' }) => ({ index: candidate.index, why: reason }),
    }),
    list('contradicted', 'info', 'not as bloated as they look', of('contradicted'), {
      row: ({ candidate, reason = '' }) => ({ index: candidate.index, why: reason }),
    }),
    list('not-ended', 'error', 'begun and not rebuilt', of('not-ended'), {
      hint: 'what it left is dropped by this task, in this run or the next; the pause before another try doubles each time',
      row: ({ candidate, reason = '' }) => ({ index: candidate.index, why: reason }),
    }),
  ]
    .filter((found) => found !== undefined)
    .concat(doubtsFound(doubts))
}

/** What earlier rebuilds left, and why nobody dropped it. A closed rebuild is in doubt once: its finding must not get lost. */
export function doubtsFound(doubts: readonly Doubt[]): readonly Finding[] {
  if (doubts.length === 0) return []
  const summary = `left as they are after an unfinished rebuild: ${doubts.map(({ index, reason }) => `${index} (${reason})`).join(', ')}`
  return [{ key: 'in-doubt', severity: 'warning', summary, details: { indexes: doubts } }]
}

function list<Item>(
  key: string,
  severity: Finding['severity'],
  saying: string,
  items: readonly Item[],
  form: { readonly hint?: string; readonly row: (item: Item) => { readonly index: IndexFacts; readonly why: string } },
): Finding | undefined {
  if (items.length === 0) return undefined
  const rows = items.map(form.row)
  const summary = `${saying}: ${rows.map(({ index, why }) => `${indexNameOf(index)} (${why})`).join(', ')}`
  const indexes = rows.map(({ index, why }) => ({
    index: indexNameOf(index),
    relation: relationOf(index),
    why,
    sql: rebuildSql(index),
  }))
  return { key, severity, summary, details: { ...(form.hint === undefined ? {} : { hint: form.hint }), indexes } }
}
