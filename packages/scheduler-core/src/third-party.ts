/** Third-party packages as the pipeline sees them: names that become tasks, or end the process in the attempt. */
import type { DisabledTask, Registry } from './registry.js'
import type { StateStore } from './state/store.js'
import type { State } from './state/task-state.js'

export interface ThirdPartyPackages {
  /** Names of packages. */
  readonly specifiers: readonly string[]
  /** Imports one package; never throws for what is wrong with it. */
  load(specifier: string): Promise<Registry>
  /** Options that belong to none of the loaded tasks. Asked only when every package was loaded and is fine. */
  unclaimedOptions(): readonly DisabledTask[]
}

/** The import is claimed like a task: if it ends the process, the next run sees the claim expire and counts it as a failure. */
export async function loadUnderClaim(
  store: StateStore,
  thirdParty: ThirdPartyPackages,
  specifier: string,
  claim: { readonly runId: string; readonly holder: string; readonly durationMs: number },
): Promise<Registry> {
  const ticket = await store.claimPackage({ row: packageRow(specifier), ...claim })
  try {
    return await thirdParty.load(specifier)
  } finally {
    // Without a ticket somebody else is loading it at this moment, which is no obstacle.
    if (ticket !== undefined) await store.releasePackage(ticket)
  }
}

/** Why a package is not loaded in this run. A package that ended the process rests like a task that fails, and is paused after five in a row. Pure. */
export function packageRefusal(specifier: string, state: State): DisabledTask | undefined {
  const row = state.tasks.get(packageRow(specifier))
  if (row?.paused !== undefined) {
    return {
      name: specifier,
      reason: `paused since ${row.paused.at.toISOString()}: ${row.paused.reason ?? 'by hand'}`,
      hint: `mend the package, then: resume ${packageRow(specifier)}`,
    }
  }
  if (row?.retryAt !== undefined && row.retryAt > state.now) {
    return {
      name: specifier,
      reason: `${row.consecutiveFailures} imports in a row ended the process; next try at ${row.retryAt.toISOString()}`,
      hint: `mend the package, then: resume ${packageRow(specifier)}`,
    }
  }
  return undefined
}

/** Those that ended no process first, then those that waited longest. Pure. */
export function packageOrder(specifiers: readonly string[], state: State): readonly string[] {
  const keyOf = (specifier: string) => {
    const row = state.tasks.get(packageRow(specifier))
    return { failures: row?.consecutiveFailures ?? 0, claimedAt: row?.lastClaimedAt?.getTime() ?? 0 }
  }
  return [...specifiers].sort((a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)]
    return left.failures - right.failures || left.claimedAt - right.claimedAt
  })
}

/** Its row among the tasks. A task has no colon in its name. */
function packageRow(specifier: string): string {
  return `npm:${specifier}`
}
