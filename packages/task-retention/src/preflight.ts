/** Whether the policies can do their work on this schema without a surprise, and what would have to change. Pure. */
import { linkKeyOf } from './expiry.js'
import { isSameRelation, keyOf, type Link, type Policy } from './policy.js'
import type { PreflightFacts, RelationFacts } from './preflight-facts.js'
import { columnProblems } from './preflight-columns.js'
import { whyRowByRow } from './plan-partitions.js'
import { hasLookupIndex, judgeIndexes } from './preflight-indexes.js'
import { judgeReferences } from './preflight-references.js'
import { judgeDeletable, judgeReadable } from './preflight-relations.js'
import type { Partitioning, PolicyReport, PreflightReport, Problem } from './preflight-report.js'

export type * from './preflight-report.js'

/**
 * Judges each policy by what the catalog says. A policy is *blocked* by whatever could make PostgreSQL refuse a delete half way, change or
 * delete a row that the policy does not name, or hide one; what merely costs time is a *warning*.
 */
export function judgePreflight(
  facts: PreflightFacts,
  policies: readonly Policy[],
  { batchRows }: { readonly batchRows: number },
): PreflightReport {
  const applicable = policies.filter(({ relation }) => facts.relations.has(keyOf(relation)))
  const reports = policies.map((policy) =>
    applicable.includes(policy) ? judgePolicy(facts, policy, applicable, batchRows) : notApplicable(policy),
  )
  return { policies: withOtherPolicies(reports), unindexed: unindexedLinks(facts, applicable) }
}

function notApplicable(policy: Policy): PolicyReport {
  return {
    policy,
    state: 'not-applicable',
    reason: `there is no relation ${keyOf(policy.relation)}`,
    blocked: [],
    warnings: [],
    keys: new Map(),
    partitioning: undefined,
  }
}

function judgePolicy(
  facts: PreflightFacts,
  configured: Policy,
  applicable: readonly Policy[],
  batchRows: number,
): PolicyReport {
  const exists = ({ relation }: Link) => facts.relations.has(keyOf(relation))
  const group = applicable.find(({ name }) => name === configured.with?.policy)
  const present: Policy = {
    ...configured,
    children: configured.children.filter(exists),
    members: configured.members.filter(exists),
    with: group === undefined ? undefined : configured.with,
  }
  const links = [...configured.children, ...configured.members]
  const missing = new Set(links.filter((link) => !exists(link)).map(({ relation }) => keyOf(relation)))
  const { children, checked, ...references } = judgeReferences(facts, present)
  const policy: Policy = { ...present, children }
  const relationFacts = (relation: Policy['relation']) => facts.relations.get(keyOf(relation))

  const targets = [policy, ...policy.children].map(({ relation }) => relationFacts(relation)).filter(isDefined)
  const [own] = targets
  const judged = targets.map((target, index) => judgeDeletable(target, policy, index === 0))
  const read = [...policy.members, ...(group === undefined ? [] : [group, ...group.members])]
    .map(({ relation }) => relationFacts(relation))
    .filter(isDefined)
  const blocked = unique([
    ...judged.flatMap((judgement) => judgement.blocked),
    ...read.filter((each) => !targets.includes(each)).flatMap(judgeReadable),
    // What is no table is not looked into any further.
    ...(own?.kind === 'table' || own?.kind === 'partitioned' ? columnProblems(facts, policy, group) : []),
    ...references.blocked,
  ])
  return {
    policy,
    state: blocked.length === 0 ? 'ready' : 'blocked',
    reason: undefined,
    blocked,
    warnings: [
      ...[...missing].map((relation): Problem => ({
        code: 'relation-missing',
        relation,
        summary: `${relation} does not exist: ${policy.name} does without it`,
      })),
      ...unique([...judged.flatMap((judgement) => judgement.warnings), ...references.warnings]),
      ...(own?.kind === 'partitioned' ? [partitionedWarning(own, whyRowByRow(facts, policy, applicable))] : []),
      ...judgeIndexes(facts, policy, { checked, batchRows }),
    ],
    keys: new Map(targets.map((target) => [keyOf(target.relation), target.primaryKey])),
    partitioning: own === undefined ? undefined : partitioningOf(facts, own),
  }
}

/** A group that is not deleted would lose its rows; rows that are not deleted keep their group. Groups come after what belongs to them. */
function withOtherPolicies(reports: readonly PolicyReport[]): readonly PolicyReport[] {
  const judged: PolicyReport[] = []
  for (const report of [...reports].reverse()) {
    const group = judged.find(({ policy }) => policy.name === report.policy.with?.policy)
    judged.unshift(group?.state === 'blocked' ? blockedByGroup(report, group) : report)
  }
  return judged.map((report) => {
    if (report.state !== 'ready') return report
    const waitsFor = report.policy.members.filter(({ isChild }) => !isChild)
    const stuck = judged.filter(
      ({ state, policy }) =>
        state === 'blocked' && waitsFor.some(({ relation }) => isSameRelation(relation, policy.relation)),
    )
    return {
      ...report,
      warnings: [
        ...report.warnings,
        ...stuck.map(({ policy }): Problem => ({
          code: 'members-blocked',
          relation: keyOf(policy.relation),
          summary: `the policy ${policy.name} is blocked, and as long as its rows stay, those of ${report.policy.name} stay, too`,
        })),
      ],
    }
  })
}

function blockedByGroup(report: PolicyReport, group: PolicyReport): PolicyReport {
  if (report.state === 'not-applicable') return report
  const problem: Problem = {
    code: 'group-blocked',
    relation: keyOf(group.policy.relation),
    summary: `the policy ${group.policy.name} is blocked, and rows of ${report.policy.name} go only with theirs`,
  }
  return { ...report, state: 'blocked', blocked: [...report.blocked, problem] }
}

function partitioningOf({ references }: PreflightFacts, facts: RelationFacts): Partitioning | undefined {
  if (facts.kind !== 'partitioned') return undefined
  return {
    count: facts.partitionCount,
    hasDefault: facts.hasDefaultPartition,
    isReferenced: references.some(({ to }) => isSameRelation(to, facts.relation)),
  }
}

function partitionedWarning(facts: RelationFacts, rowByRow: string | undefined): Problem {
  const relation = keyOf(facts.relation)
  const partitions = facts.partitionCount === 1 ? '1 partition' : `${facts.partitionCount} partitions`
  const how = rowByRow === undefined ? 'expired ones go as a whole' : `rows go one by one, because ${rowByRow}`
  return { code: 'partitioned', relation, summary: `${relation} is partitioned: it has ${partitions}; ${how}` }
}

function unindexedLinks(facts: PreflightFacts, policies: readonly Policy[]): ReadonlySet<string> {
  const links = policies.flatMap(({ children, members }) => [...children, ...members])
  return new Set(
    links
      .filter((link) => {
        const relation = facts.relations.get(keyOf(link.relation))
        return relation !== undefined && !hasLookupIndex(relation, link.columns)
      })
      .map(linkKeyOf),
  )
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}

/** One relation may have two roles: what is wrong with it is said once. */
function unique(problems: readonly Problem[]): readonly Problem[] {
  return [...new Map(problems.map((problem) => [`${problem.code} ${problem.summary}`, problem])).values()]
}
