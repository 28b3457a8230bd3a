/** What PostgreSQL does to other rows when those of a policy go, and whether the policy covers it. Pure. */
import { quoteIdentifier, quoteRelation } from '@battlescope/database'
import { isSameRelation, keyOf, type Child, type Link, type Policy } from './policy.js'
import type { PreflightFacts, ReferenceFacts, RowEvent } from './preflight-facts.js'
import { judgeAction } from './preflight-relations.js'
import type { Problem, ProblemCode } from './preflight-report.js'

export interface ReferenceJudgement {
  readonly blocked: readonly Problem[]
  readonly warnings: readonly Problem[]
  /** In the order of deletion: what points to another child goes before it. */
  readonly children: readonly Child[]
  /** Foreign keys that cost a look at the referencing relation for every deleted row. */
  readonly checked: readonly Link[]
}

export function judgeReferences({ relations, references }: PreflightFacts, policy: Policy): ReferenceJudgement {
  const blocked: Problem[] = []
  const warnings: Problem[] = []
  const checked: Link[] = []
  const before: { readonly first: Child; readonly then: Child }[] = []
  for (const reference of references) {
    const child = policy.children.find(({ relation }) => isSameRelation(relation, reference.to))
    if (child === undefined && !isSameRelation(reference.to, policy.relation)) continue
    const cover = child === undefined ? coveringLink(policy, reference) : coveringChild(policy, child, reference)
    if (cover === undefined) {
      blocked.push(uncovered(reference, policy))
      continue
    }
    if (!keepsOut(cover, references, policy, reference, child)) {
      blocked.push(lateRows(reference, policy))
      continue
    }
    checked.push({ relation: cover.relation, columns: reference.columns, references: reference.references })
    const event = events[reference.onDelete]
    const from = relations.get(keyOf(cover.relation))
    if (event !== undefined && from !== undefined) {
      const effect = judgeAction(from, policy, event, reference.name)
      blocked.push(...effect.blocked)
      warnings.push(...effect.warnings)
    }
    if (child !== undefined) before.push({ first: cover, then: child })
  }
  const children = inOrder(policy.children, before)
  for (const child of policy.children) {
    if (children.includes(child)) continue
    blocked.push({
      code: 'child-order',
      relation: keyOf(child.relation),
      summary: `foreign keys between the children of ${policy.name} go round in a circle at ${keyOf(child.relation)}`,
    })
  }
  return { blocked, warnings, children: blocked.length === 0 ? children : policy.children, checked }
}

/** What PostgreSQL sends to the referencing relation. */
const events: Readonly<Record<ReferenceFacts['onDelete'], RowEvent | undefined>> = {
  'no-action': undefined,
  restrict: undefined,
  cascade: 'delete',
  'set-null': 'update',
  'set-default': 'update',
}

/** The foreign key is on the relation itself, or on a partition of it. */
function isFrom(reference: ReferenceFacts, { relation }: Link): boolean {
  return [reference.from, ...reference.fromAncestors].some((from) => isSameRelation(from, relation))
}

/**
 * The link of a child or member that follows the foreign key: when no row is left that the link finds, none is left that the key finds.
 * That is so when all pairs of the link are pairs of the key.
 */
function coveringLink({ children, members }: Policy, reference: ReferenceFacts): Link | undefined {
  return [...children, ...members.filter(({ isChild }) => !isChild)].find(
    (link) =>
      isFrom(reference, link) &&
      link.columns.every(
        (column, index) => reference.references[reference.columns.indexOf(column)] === link.references[index],
      ),
  )
}

/**
 * The child whose rows point to rows of another child, and only to those of the same parent: where the foreign key pairs the very
 * columns by which both point to it. Then deleting it first leaves nothing that points to the other.
 */
function coveringChild({ children }: Policy, target: Child, reference: ReferenceFacts): Child | undefined {
  return children.find(
    (child) =>
      child !== target &&
      isFrom(reference, child) &&
      child.references.length === target.references.length &&
      child.columns.every((column, index) => {
        const parentColumn = child.references[index] ?? ''
        const targetColumn = target.columns[target.references.indexOf(parentColumn)]
        return targetColumn !== undefined && reference.references[reference.columns.indexOf(column)] === targetColumn
      }),
  )
}

/** PostgreSQL refuses to delete a row that the key's rows point to, whenever they came. */
export function refusesDelete({ onDelete, isEnforced }: ReferenceFacts): boolean {
  return isEnforced && (onDelete === 'no-action' || onDelete === 'restrict')
}

/**
 * Whether no row can come to point by a key to rows that are being deleted, and go, be changed or be left behind with them: the key refuses, or
 * the row has to pass the lock of the parent, which it does by a key to it whose triggers fire. Without an archive a row of a child may go.
 * @param child that the key points to; undefined: to the parent
 */
function keepsOut(
  from: Link,
  references: readonly ReferenceFacts[],
  policy: Policy,
  key: ReferenceFacts,
  child: Child | undefined,
): boolean {
  const { onDelete, isEnforced } = key
  if (refusesDelete(key)) return true
  if (onDelete === 'cascade' && !policy.archive && policy.children.some((each) => each === from)) return true
  if (child !== undefined) return hasKeyToParent(from, references, policy, key)
  // One that does nothing and is not looked at is as if there were none: late rows are looked for.
  return isEnforced || onDelete === 'no-action' || onDelete === 'restrict'
}

/** Whether what holds the key, and all of it, points to the parent by another one, too. */
function hasKeyToParent(
  from: Link,
  references: readonly ReferenceFacts[],
  policy: Policy,
  { from: holder, fromAncestors }: ReferenceFacts,
): boolean {
  return references.some(
    (reference) =>
      reference.isEnforced &&
      isSameRelation(reference.to, policy.relation) &&
      [holder, ...fromAncestors].some((each) => isSameRelation(each, reference.from)) &&
      reference.columns.every(
        (column, index) => from.references[from.columns.indexOf(column)] === reference.references[index],
      ),
  )
}

function lateRows(reference: ReferenceFacts, policy: Policy): Problem {
  const [from, to] = [keyOf(reference.from), keyOf(reference.to)]
  return {
    code: effects[reference.onDelete].code,
    relation: from,
    summary: `by the foreign key ${reference.name} a row of ${from} that comes while ${to} is being deleted would go, be changed or be left behind`,
    hint: reference.isEnforced
      ? `give ${from} a foreign key to ${keyOf(policy.relation)} by the columns of the policy, or this one ON DELETE NO ACTION`
      : `its triggers do not fire: ALTER TABLE … ENABLE TRIGGER ALL on ${from} and ${to}, and look at session_replication_role`,
  }
}

const effects: Readonly<Record<ReferenceFacts['onDelete'], { readonly code: ProblemCode; readonly effect: string }>> = {
  'no-action': { code: 'refused-reference', effect: 'would refuse the delete' },
  restrict: { code: 'refused-reference', effect: 'would refuse the delete' },
  cascade: { code: 'cascading-reference', effect: 'would delete rows that the policy does not name' },
  'set-null': { code: 'emptied-reference', effect: 'would set columns of rows that stay to NULL' },
  'set-default': { code: 'emptied-reference', effect: 'would set columns of rows that stay to their default' },
}

function uncovered(reference: ReferenceFacts, policy: Policy): Problem {
  const { code, effect } = effects[reference.onDelete]
  const [from, to] = [keyOf(reference.from), keyOf(reference.to)]
  const key = `${from} (${reference.columns.join(', ')}) → ${to} (${reference.references.join(', ')})`
  const isOfRelation = isSameRelation(reference.to, policy.relation)
  return {
    code,
    relation: from,
    summary: `the foreign key ${reference.name}, ${key}, ${effect}`,
    hint: isOfRelation
      ? `name ${from} with these columns in the policy ${policy.name}: in children, and its rows go, too; or in members, and a row stays while any of them points to it`
      : `${to} is a child of the policy ${policy.name}, and a child has no children of its own`,
    mend: [
      `ALTER TABLE ${quoteRelation(reference.from.schema, reference.from.name)} DROP CONSTRAINT ${quoteIdentifier(reference.name)}`,
    ],
  }
}

/** As configured, except that `first` comes before `then`. Those in a circle are left out. */
function inOrder(
  children: readonly Child[],
  before: readonly { readonly first: Child; readonly then: Child }[],
): readonly Child[] {
  const ordered: Child[] = []
  for (;;) {
    const next = children.find(
      (child) =>
        !ordered.includes(child) && before.every(({ first, then }) => then !== child || ordered.includes(first)),
    )
    if (next === undefined) return ordered
    ordered.push(next)
  }
}
