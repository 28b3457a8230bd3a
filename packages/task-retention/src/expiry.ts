/** Which rows of a policy expire, as SQL conditions. Pure: builds SQL, sends none. */
import type { Horizons, Link, Policy } from './policy.js'
import { keyOf } from './policy.js'
import type { KeyColumn } from './preflight-facts.js'
import type { PreflightReport } from './preflight.js'

/** All that decides which rows of one policy expire. */
export interface Expiry {
  readonly policy: Policy
  /** All policies that stand on this schema: those of groups and members decide, too. */
  readonly policies: readonly Policy[]
  readonly horizons: Horizons
  /** Where the holds are; undefined: there are none yet. */
  readonly stateSchema: string | undefined
  /** The primary key of the policy's relation. */
  readonly keyColumns: readonly KeyColumn[]
  /** Links without an index: see {@link PreflightReport.unindexed}. */
  readonly unindexed: ReadonlySet<string>
}

/** `public.killmail_events(battle_id)`. */
export function linkKeyOf({ relation, columns }: Pick<Link, 'relation' | 'columns'>): string {
  return `${keyOf(relation)}(${columns.join(',')})`
}

/** The expiry of a policy that preflight found ready. */
export function expiryOf(
  report: PreflightReport,
  policy: Policy,
  horizons: Horizons,
  stateSchema: string | undefined,
): Expiry {
  const own = report.policies.find((each) => each.policy.name === policy.name)
  return {
    policy: own?.policy ?? policy,
    policies: report.policies.filter(({ state }) => state !== 'not-applicable').map((each) => each.policy),
    horizons,
    stateSchema,
    keyColumns: own?.keys.get(keyOf(policy.relation)) ?? [],
    unindexed: report.unindexed,
  }
}
