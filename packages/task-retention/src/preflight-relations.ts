/** What is to be said of one relation by itself: whether rows can be read and deleted there, by key and without side effects. Pure. */
import { quoteIdentifier, quoteRelation } from '@battlescope/database'
import { keyOf, type Policy } from './policy.js'
import type { RelationFacts, RowEvent, TriggerFacts } from './preflight-facts.js'
import type { Problem } from './preflight-report.js'

export interface Judgement {
  readonly blocked: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/** A relation that rows are deleted from. `lock`: its rows are locked FOR UPDATE first. */
export function judgeDeletable(facts: RelationFacts, policy: Policy, lock: boolean): Judgement {
  const relation = keyOf(facts.relation)
  const unusual = kindProblem(facts)
  // What follows presumes a table.
  if (unusual !== undefined) return { blocked: [unusual], warnings: [] }
  const blocked: Problem[] = []
  if (facts.primaryKey.length === 0) {
    blocked.push({
      code: 'key-missing',
      relation,
      summary: `${relation} has no primary key: no row could be told from its like`,
      mend: [`ALTER TABLE ${sqlName(facts)} ADD COLUMN retention_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY`],
      hint: 'better a key of columns that are there: ALTER TABLE … ADD PRIMARY KEY (…)',
    })
  }
  blocked.push(...permissionProblems(facts, lock ? ['select', 'update', 'delete'] : ['select', 'delete']))
  blocked.push(...rowSecurityProblems(facts))
  const onDelete = eventProblems(facts, 'delete', policy, () => true)
  blocked.push(...onDelete.always)
  const triggers = onDelete.triggers
  return policy.allowTriggers ? { blocked, warnings: triggers } : { blocked: [...blocked, ...triggers], warnings: [] }
}

/**
 * A relation that a foreign key with an action leads from. For every row that goes, PostgreSQL sends it a DELETE or UPDATE of the rows that
 * point there; and although none is left, that statement is rewritten by rules, refused by publications and seen by statement triggers.
 */
export function judgeAction(facts: RelationFacts, policy: Policy, event: RowEvent, foreignKey: string): Judgement {
  const found = eventProblems(facts, event, policy, ({ level }) => level === 'statement')
  const because = (problem: Problem): Problem => ({
    ...problem,
    code: 'reference-effect',
    summary: `${problem.summary}; the foreign key ${foreignKey} sends one, of no row, for every row that ${policy.name} deletes`,
  })
  const [always, triggers] = [found.always.map(because), found.triggers.map(because)]
  return policy.allowTriggers
    ? { blocked: always, warnings: triggers }
    : { blocked: [...always, ...triggers], warnings: [] }
}

/** What stands in the way of a DELETE or UPDATE of a relation. */
function eventProblems(
  facts: RelationFacts,
  event: RowEvent,
  policy: Policy,
  fires: (trigger: TriggerFacts) => boolean,
): { readonly always: readonly Problem[]; readonly triggers: readonly Problem[] } {
  const relation = keyOf(facts.relation)
  const statement = event.toUpperCase()
  const isOfEvent = (each: { readonly event: RowEvent }) => each.event === event
  const rules = facts.rules.filter(isOfEvent).map((rule): Problem => ({
    code: 'delete-rule',
    relation,
    summary: `the rule ${rule.name} rewrites ${statement} on ${keyOf(rule.relation)}`,
    mend: [`DROP RULE ${quoteIdentifier(rule.name)} ON ${sqlName(rule)}`],
  }))
  const publications = facts.refusingPublications.filter(isOfEvent).map(({ name }): Problem => ({
    code: 'replica-identity',
    relation,
    summary: `PostgreSQL refuses ${statement} on ${relation}: the publication ${name} publishes it, and the replica identity does not tell it which row`,
    mend: [`ALTER TABLE ${sqlName(facts)} REPLICA IDENTITY DEFAULT`],
    hint: 'for each partition of a partitioned relation; columns of a row filter must be part of the replica identity, and the replica identity part of a column list',
  }))
  const triggers = facts.triggers
    .filter((trigger) => isOfEvent(trigger) && fires(trigger))
    .map((trigger): Problem => ({
      code: 'delete-trigger',
      relation,
      summary: `the trigger ${trigger.name} fires on ${statement} on ${keyOf(trigger.relation)}: what it does cannot be seen from here`,
      mend: [`ALTER TABLE ${sqlName(trigger)} DISABLE TRIGGER ${quoteIdentifier(trigger.name)}`],
      hint: `set allowTriggers in the policy ${policy.name} once you know that it neither refuses the delete nor changes what must stay`,
    }))
  return { always: [...rules, ...publications], triggers }
}

/** A relation that is only looked at: whether a group has rows there. What row-level security hides would seem not to exist. */
export function judgeReadable(facts: RelationFacts): readonly Problem[] {
  return [...permissionProblems(facts, ['select']), ...rowSecurityProblems(facts)]
}

function kindProblem(facts: RelationFacts): Problem | undefined {
  const relation = keyOf(facts.relation)
  if ((facts.kind !== 'table' && facts.kind !== 'partitioned') || facts.isTemporary) {
    const what = facts.isTemporary ? 'temporary' : `a ${facts.kind.replaceAll('-', ' ')}`
    return { code: 'not-a-table', relation, summary: `${relation} is ${facts.kind === 'other' ? 'no table' : what}` }
  }
  if (facts.isPartition) {
    return {
      code: 'is-partition',
      relation,
      summary: `${relation} is a partition`,
      hint: 'name the partitioned relation in the policy',
    }
  }
  if (facts.hasForeignPartition) {
    return { code: 'not-a-table', relation, summary: `a partition of ${relation} is a foreign table` }
  }
  const [other] = facts.inheritance
  if (other === undefined) return undefined
  return {
    code: 'inheritance',
    relation,
    summary: `${relation} and ${keyOf(other)} inherit from one another: a key is unique in each of them alone`,
    hint: 'make them partitions, or end it with ALTER TABLE … NO INHERIT …',
  }
}

type Privilege = 'select' | 'update' | 'delete'

/** FOR UPDATE asks for UPDATE of at least one column, beside SELECT. */
function permissionProblems(facts: RelationFacts, needed: readonly Privilege[]): readonly Problem[] {
  const relation = keyOf(facts.relation)
  const missing = needed.filter((privilege) => !facts.privileges[privilege]).map((privilege) => privilege.toUpperCase())
  const mend = [
    ...(facts.privileges.usage
      ? []
      : [`GRANT USAGE ON SCHEMA ${quoteIdentifier(facts.relation.schema)} TO CURRENT_USER`]),
    ...(missing.length === 0 ? [] : [`GRANT ${missing.join(', ')} ON ${sqlName(facts)} TO CURRENT_USER`]),
  ]
  if (mend.length === 0) return []
  const lacking = [...(facts.privileges.usage ? [] : ['USAGE of its schema']), ...missing].join(', ')
  return [
    {
      code: 'not-permitted',
      relation,
      summary: `our role lacks ${lacking} on ${relation}`,
      mend,
      hint: "run it as the owner, with the scheduler's role in place of CURRENT_USER",
    },
  ]
}

function rowSecurityProblems(facts: RelationFacts): readonly Problem[] {
  if (facts.rowSecurity !== 'active') return []
  const relation = keyOf(facts.relation)
  return [
    {
      code: 'row-security',
      relation,
      summary: `row-level security hides rows of ${relation} from our role`,
      mend: ['ALTER ROLE CURRENT_USER BYPASSRLS'],
      hint: "run it as a superuser, with the scheduler's role in place of CURRENT_USER; or let the role own the relation",
    },
  ]
}

/** Quoted and qualified, for SQL. */
export function sqlName({ relation: { schema, name } }: Pick<RelationFacts, 'relation'>): string {
  return quoteRelation(schema, name)
}
