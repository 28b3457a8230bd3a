/** Which partitions go as a whole, and why the others do not. Pure. */
import type { PartitionContent, PartitionedFacts, PartitionFacts, PartitionRecord } from './partition-facts.js'
import { isSameRelation, keyOf, type Policy } from './policy.js'
import type { PreflightFacts } from './preflight-facts.js'

/** Whether a policy could take whole partitions, if its relation had any: what a direct connection is good for. */
export function mayDetach(policy: Policy, policies: readonly Policy[]): boolean {
  return whyNotByPolicy(policy, policies) === undefined
}

function whyNotByPolicy(policy: Policy, policies: readonly Policy[]): string | undefined {
  if (!policy.detachPartitions) return `detachPartitions is off in the policy ${policy.name}`
  return whyRowsDiffer(policy, policies)
}

/** Why rows of a policy are not all alike, so that none of its partitions goes as a whole, also one that is detached already. */
export function whyRowsDiffer(policy: Policy, policies: readonly Policy[]): string | undefined {
  const { name, children, members, keepWhile, with: group } = policy
  // Each of them decides row by row, or has rows of other relations go along.
  if (children.length > 0) return `the policy ${name} has children`
  if (members.length > 0) return `the policy ${name} has members`
  if (keepWhile.length > 0) return `the policy ${name} has keepWhile`
  if (group !== undefined) return `rows of the policy ${name} go with those of ${group.policy}`
  // What another policy deletes changes or deletes rows that point to it. A detached partition keeps its foreign keys.
  const other = policies.find((each) => each.name !== name && reachesInto(each, policy))
  return other === undefined ? undefined : `the policy ${other.name} is also about ${keyOf(policy.relation)}`
}

function reachesInto({ members, with: group }: Policy, { name, relation }: Policy): boolean {
  return group?.policy === name || members.some((member) => isSameRelation(member.relation, relation))
}

/** Why rows of a partitioned relation go one by one, as far as preflight can tell; undefined: expired partitions go as a whole. */
export function whyRowByRow(facts: PreflightFacts, policy: Policy, policies: readonly Policy[]): string | undefined {
  const own = facts.relations.get(keyOf(policy.relation))
  const relation = keyOf(policy.relation)
  const byPolicy = whyNotByPolicy(policy, policies)
  if (byPolicy !== undefined) return byPolicy
  if (facts.hasSession === false) return 'there is no direct connection: set DATABASE_DIRECT_URL'
  if (own?.hasDefaultPartition === true) return hasDefault(relation)
  const reference = facts.references.find(({ to }) => isSameRelation(to, policy.relation))
  if (reference !== undefined)
    return `the foreign key ${reference.name} of ${keyOf(reference.from)} points to ${relation}`
  const trigger = own?.triggers.find(({ event }) => event === 'delete')
  return trigger === undefined ? undefined : `DROP TABLE does not fire the trigger ${trigger.name}`
}

function hasDefault(relation: string): string {
  return `${relation} has a default partition, with which PostgreSQL detaches nothing CONCURRENTLY`
}

/** The same, of what preflight does not read, or did some time ago. */
export function whyPartitionsStay(policy: Policy, facts: PartitionedFacts): string | undefined {
  const relation = keyOf(policy.relation)
  if (!facts.isByTime) return `${relation} is not partitioned by range of ${policy.timeColumn} alone`
  if (facts.hasDefault) return hasDefault(relation)
  if (!facts.isOwned) return `our role does not own ${relation}`
  return facts.isPublished ? `a publication sends what is deleted from ${relation}` : undefined
}

export interface ExpiredPartitions {
  /** Oldest first. */
  readonly whole: readonly PartitionFacts[]
  /** Expired, and handled row by row. */
  readonly others: readonly { readonly partition: PartitionFacts; readonly why: string }[]
}

/**
 * Partitions that lie before the horizon. The last partition stays, whatever it holds: without any, no row could come in.
 * That all of their rows may go is looked at in the rows.
 */
export function selectExpired(facts: PartitionedFacts, horizon: Date): ExpiredPartitions {
  const endOf = ({ toAt }: PartitionFacts) => toAt?.getTime() ?? Infinity
  const attached = facts.partitions.filter(({ isPending }) => !isPending)
  const inOrder = [...attached].sort((a, b) => endOf(a) - endOf(b))
  const expired = inOrder.slice(0, -1).filter((partition) => endOf(partition) <= horizon.getTime())
  const judged = expired.map((partition) => ({ partition, why: whyNotWhole(partition) }))
  return {
    whole: judged.filter(({ why }) => why === undefined).map(({ partition }) => partition),
    others: judged.flatMap(({ partition, why }) => (why === undefined ? [] : [{ partition, why }])),
  }
}

function whyNotWhole({ relation, ...partition }: PartitionFacts): string | undefined {
  const name = keyOf(relation)
  if (!partition.isTable) return `${name} is partitioned itself`
  if (!partition.isOwned) return `our role does not own ${name}`
  if (partition.hidesRows) return `row-level security hides rows of ${name} from our role`
  return partition.isNamedElsewhere
    ? `a view, function, type or policy names ${name}, or a sequence belongs to it`
    : undefined
}

export type ContentDecision =
  | { readonly kind: 'go' }
  /** Not in this run: others took what one run may delete. */
  | { readonly kind: 'later' }
  | { readonly kind: 'rows'; readonly why: string }

/** Whether a partition may go as a whole with what it holds. */
export function judgeContent(
  partition: string,
  content: PartitionContent,
  { rowsLeft, maxRowsPerRun }: { readonly rowsLeft: number; readonly maxRowsPerRun: number },
): ContentDecision {
  if (content.staying > 0) return { kind: 'rows', why: `${content.staying} rows of ${partition} must stay` }
  if (content.rows > maxRowsPerRun) {
    return { kind: 'rows', why: `${partition} has ${content.rows} rows, and one run deletes at most ${maxRowsPerRun}` }
  }
  return content.rows > rowsLeft ? { kind: 'later' } : { kind: 'go' }
}

export type RecordDecision =
  | { readonly kind: 'finalize' }
  /** Detached: to be archived and dropped by its policy. */
  | { readonly kind: 'drop' }
  /** A session of an earlier run is still at it. */
  | { readonly kind: 'sending' }
  /** Nothing came of the announcement, or what did is over: a partition like any other, or somebody else's table. */
  | { readonly kind: 'forget' }
  /** Attached again by somebody: what was archived of it is no copy any more. `slot` to be noted. */
  | { readonly kind: 'attached-again'; readonly isNew: boolean }
  /** By its name it is here, attached, with another number: the database was dumped and restored. What is archived of it is live. */
  | { readonly kind: 'restored' }
  /** It left by another hand: verified batches are the only copies now. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'leave'; readonly why: string }

/** What is to be done about a partition that was announced by an earlier run, by where it is now. */
export function judgeRecord(record: PartitionRecord, slotId: string): RecordDecision {
  if (!isOurs(record)) {
    // We never began, and whoever announced it finds its announcement gone.
    if (record.session === undefined) return { kind: 'forget' }
    // Somebody attached it again, and has detached it since: this detach is not ours, and what it is for we do not know.
    return {
      kind: 'leave',
      why: 'it was attached again, and somebody else detached it since, or its first column was altered',
    }
  }
  switch (record.place) {
    case 'pending':
      return { kind: 'finalize' }
    case 'detached':
      return { kind: 'drop' }
    case 'gone':
      // Dropped before anything began: a partition like any other.
      return isUntouched(record) ? { kind: 'forget' } : { kind: 'gone' }
    case 'elsewhere':
      return { kind: 'leave', why: 'it is a partition of another relation by now' }
    case 'restored':
      return { kind: 'restored' }
    case 'unknown':
      if (isUntouched(record)) return { kind: 'forget' }
      return { kind: 'leave', why: 'the table of this name is another one, or it was renamed' }
    case 'attached':
      if (wasDetached(record)) {
        // For one slot it stays: who wants it for longer has the time for a hold.
        if (record.attachedAgainSlot === undefined) return { kind: 'attached-again', isNew: true }
        if (record.attachedAgainSlot === slotId) return { kind: 'attached-again', isNew: false }
        // Attached for good: whoever detaches it from now on is somebody else, unless it is announced anew.
        return { kind: 'forget' }
      }
      return { kind: record.isSending ? 'sending' : 'forget' }
  }
}

function isUntouched({ detachedAt, archived }: PartitionRecord): boolean {
  return detachedAt === undefined && archived.batchIds.length === 0
}

/** Whether it was we who detached it, or began to. */
export function isOurs({ place, session, detachedAt, attachedAgainSlot, isColumnRewritten }: PartitionRecord): boolean {
  if (place !== 'detached' && place !== 'pending') return true
  if (session === undefined || attachedAgainSlot !== undefined) return false
  // Between our detach and the note of it there is nothing to compare with; what is pending still has the columns of before.
  return !isColumnRewritten || (place === 'detached' && detachedAt === undefined)
}

/** Of one that is attached: whether it was detached since it was announced, also when no run came to write that down. */
export function wasDetached({ detachedAt, session, isColumnRewritten }: PartitionRecord): boolean {
  return detachedAt !== undefined || (session !== undefined && isColumnRewritten)
}

/** One line of `plan`, per partition. */
export function forecastPartition(
  policy: Policy,
  partition: PartitionFacts,
  content: PartitionContent,
): { readonly target: string; readonly reason: string } {
  const { rows } = content
  return {
    target: keyOf(policy.relation),
    reason: `${policy.name}: partition ${keyOf(partition.relation)}, ${rows} rows, ${partition.sizeBytes} bytes`,
  }
}
