/** What people are told about partitions that do not go, or not as a whole. Pure. */
import { parseRelationName, quoteRelation, type RelationName } from '@battlescope/database'
import type { Finding } from '@battlescope/scheduler-core'
import type { PartitionRecord } from './partition-facts.js'
import { attachStatement } from './partition-records.js'
import { keyOf, type Policy } from './policy.js'

export function rowByRowFinding({ name, relation }: Policy, reasons: readonly string[]): Finding {
  const more = reasons.length > 1 ? ` (and ${reasons.length - 1} more)` : ''
  return {
    key: `row-by-row-${name}`,
    severity: 'info',
    summary: `policy ${name} deletes from ${keyOf(relation)} row by row: ${reasons[0] ?? ''}${more}`,
    details: { reasons },
  }
}

/** Of a detached partition that is not dropped: why, and what people can do. */
export function waitingFinding(record: PartitionRecord, why: string): Finding {
  return {
    key: partitionKey('partition-waits', record.partition),
    severity: 'error',
    summary: `${record.partition} is detached from ${record.relation} and is not dropped: ${why}`,
    details: { hint: 'to have its rows back, attach it again', mend: [attachStatement(record)] },
  }
}

/** Keys have 200 characters at most, and two quoted names can have more. */
function partitionKey(kind: string, partition: string): string {
  return `${kind}-${partition}`.slice(0, 200)
}

export function pendingFinding(record: PartitionRecord, error: unknown): Finding {
  return {
    key: partitionKey('partition-pending', record.partition),
    severity: 'warning',
    summary: `${record.partition} is not wholly detached from ${record.relation} yet: an older transaction is still open`,
    details: {
      error: error instanceof Error ? error.message : '',
      hint: 'each run tries to end it; SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start shows who is in the way',
    },
  }
}

/** Ours, and we must not, or cannot, end it: no waiting mends that. */
export function refusedFinalizeFinding(record: PartitionRecord, error: unknown): Finding {
  return {
    key: partitionKey('partition-pending', record.partition),
    severity: 'error',
    summary: `${record.partition} is not wholly detached from ${record.relation}, and we cannot end it: ${error instanceof Error ? error.message : ''}`,
    details: {
      hint: 'its rows are invisible through the relation: end it, then attach it again or let its policy go on',
      mend: [finalizeStatement(parseRelationName(record.relation), parseRelationName(record.partition))],
    },
  }
}

function finalizeStatement(relation: RelationName, partition: RelationName): string {
  const [from, name] = [relation, partition].map((each) => quoteRelation(each.schema, each.name))
  return `ALTER TABLE ${from} DETACH PARTITION ${name} FINALIZE`
}

/** A pending detach that nobody here began: PostgreSQL takes one at a time, so it is in our way, and it is not ours to end. */
export function foreignPendingFinding(relation: RelationName, partition: RelationName): Finding {
  return {
    key: partitionKey('partition-foreign', keyOf(partition)),
    severity: 'warning',
    summary: `somebody else began to detach ${keyOf(partition)} from ${keyOf(relation)}: until that is done, no partition of it goes`,
    details: {
      hint: 'if nobody is at it any more, end it',
      mend: [finalizeStatement(relation, partition)],
    },
  }
}

/** Another hand dropped it: nothing is lost that was archived, and what was not is. */
export function goneFinding(record: PartitionRecord): Finding {
  return {
    key: partitionKey('partition-gone', record.partition),
    severity: 'error',
    summary: `${record.partition}, detached from ${record.relation}, was dropped by somebody else: ${record.archived.rows} of its rows are archived`,
  }
}

export function keptFinding(record: PartitionRecord): Finding {
  return {
    key: partitionKey('partition-rows-gone', record.partition),
    severity: 'error',
    summary: `some of the ${record.archived.rows} archived rows of ${record.partition} are not in it any more: the archive keeps them, also those that are`,
    details: {
      hint: 'archive restore brings back what is missing and moves what is there out of the way, if it runs before the next slot archives the rest again',
    },
  }
}

/** Attached again or made anew, and what is in it cannot be told now. */
export function unseenFinding(record: PartitionRecord, why: string): Finding {
  return {
    key: partitionKey('partition-unseen', record.partition),
    severity: 'warning',
    summary: `whether the archived rows of ${record.partition} are in it again cannot be told: ${why}`,
    details: { hint: 'until it can, the archive keeps them' },
  }
}

export function attachedAgainFinding(record: PartitionRecord): Finding {
  return {
    key: partitionKey('partition-attached-again', record.partition),
    severity: 'warning',
    summary: `${record.partition} was detached from ${record.relation} and is attached again: it stays until the next slot`,
    details: { hint: 'to keep it for longer, lengthen the period of its policy, or insert a hold into archive_hold' },
  }
}
