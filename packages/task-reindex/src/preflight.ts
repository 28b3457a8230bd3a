/** Whether a rebuild may begin now. Pure. */
import { formatDuration } from '@battlescope/scheduler-core'
import type { ReindexConfig } from './config.js'
import type { PreflightFacts, TransactionFacts } from './facts.js'
import { formatBytes, type Candidate } from './plan.js'

/** `server`: nothing can begin now. `index`: this one cannot. */
export interface Objection {
  readonly concerns: 'server' | 'index'
  readonly reason: string
}

/** The copy, and about as much WAL for it; the old one goes only at the end. */
const spaceFactor = 2

export function objection(facts: PreflightFacts, candidate: Candidate, config: ReindexConfig): Objection | undefined {
  const server = serverObjection(facts, config)
  if (server !== undefined) return { concerns: 'server', reason: server }
  const [lock] = facts.tableLocks
  if (lock !== undefined) {
    const holder = lock.pid === undefined ? 'a prepared transaction' : `session ${lock.pid}`
    return {
      concerns: 'index',
      reason: `${holder} holds ${lock.mode} on the table: a VACUUM, or a change of the schema`,
    }
  }
  const needed = spaceFactor * candidate.index.sizeBytes
  if (config.freeSpace !== undefined && needed > config.freeSpace) {
    const reason = `needs about ${formatBytes(needed)} of disk, and freeSpace allows ${formatBytes(config.freeSpace)}`
    return { concerns: 'index', reason }
  }
  return undefined
}

function serverObjection(
  facts: PreflightFacts,
  { maxTransactionAge, maxReplicaLag }: ReindexConfig,
): string | undefined {
  const oldest = facts.transactions.find(({ ageMs }) => ageMs !== undefined && ageMs >= maxTransactionAge)
  if (oldest !== undefined) return `would wait for a transaction ${inWords(oldest)}`
  if (facts.otherBuilds > 0) return `${facts.otherBuilds} other session(s) are building an index`
  const late = facts.replicas.find(({ lagMs }) => lagMs === undefined || lagMs >= maxReplicaLag)
  if (late === undefined) return undefined
  return late.lagMs === undefined
    ? `the lag of replica ${late.name} cannot be read: GRANT pg_monitor to this role`
    : `replica ${late.name} is ${formatDuration(Math.round(late.lagMs / 1000) * 1000)} behind`
}

function inWords({ pid, ageMs = 0, state, application, user }: TransactionFacts): string {
  const age = formatDuration(Math.round(ageMs / 1000) * 1000)
  return `that began ${age} ago: session ${pid} of ${user}, '${application}', ${state ?? 'state unknown'}`
}
