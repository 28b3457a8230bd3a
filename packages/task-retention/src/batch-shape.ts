/** What one batch of a policy consists of: its relation and those that hang on it, with what is needed to name rows. Pure. */
import type { RelationName } from '@battlescope/database'
import { isSameRelation, keyOf, type Child, type Policy } from './policy.js'
import type { KeyColumn, PreflightFacts, ReferenceFacts } from './preflight-facts.js'
import { refusesDelete } from './preflight-references.js'

export interface BatchShape {
  readonly policy: Policy
  readonly parent: ParentShape
  /** In the order in which they are deleted. */
  readonly children: readonly ChildShape[]
}

export interface RelationShape {
  /** Where its rows are. */
  readonly relation: RelationName
  /** What the archive calls it, as {@link keyOf} writes it: of a detached partition, the relation that it belonged to. */
  readonly name: string
  readonly keyColumns: readonly KeyColumn[]
}

export interface ParentShape extends RelationShape {
  /** Columns that children point to, or that are part of the key: what is read of each parent. */
  readonly targetColumns: readonly KeyColumn[]
}

export interface ChildShape extends RelationShape {
  /** The pointing columns, with the type of what they point to: values of it are what they are compared with. */
  readonly linkColumns: readonly KeyColumn[]
  /** For each of them the parent's column. */
  readonly references: readonly string[]
  /** PostgreSQL itself keeps rows from arriving while their parent is locked. */
  readonly hasForeignKey: boolean
  /** Rows that point to its rows would go with them, be changed, or be left behind. */
  readonly takesAlong: boolean
}

/** @throws RangeError when the facts lack a relation that preflight admitted */
export function shapeOf(policy: Policy, facts: PreflightFacts): BatchShape {
  const own = factsOf(facts, policy.relation)
  const children = policy.children.map((child) => childShape(policy, child, facts))
  const targets = new Set([
    ...own.primaryKey.map(({ name }) => name),
    ...children.flatMap(({ references }) => references),
  ])
  return {
    policy,
    parent: {
      relation: policy.relation,
      name: keyOf(policy.relation),
      keyColumns: own.primaryKey,
      targetColumns: [...targets].map((name) => ({ name, type: typeOf(facts, policy.relation, name) })),
    },
    children,
  }
}

/** Foreign keys to the parent and to its children: what decides what happens to rows that come late. */
export function referencesOf(
  { parent, children }: BatchShape,
  references: readonly ReferenceFacts[],
): readonly ReferenceFacts[] {
  const own = [parent, ...children].map(({ relation }) => relation)
  return references.filter(({ to }) => own.some((relation) => isSameRelation(relation, to)))
}

/**
 * Whether the parents have to be locked before anything is deleted. Where not, what the statements delete is compared or counted instead, and
 * one row too few or too many undoes it all: a pass over the parents less, and their locks are held for a shorter time.
 *
 * A member that came to point to a parent would stay and be changed. With an archive, a child that comes between its siblings' end and its
 * parent's must make PostgreSQL refuse the delete: by a CASCADE it would go without a copy; and a trigger on DELETE may change the parents
 * before they are compared. Without an archive a late child may go, but not stay and be changed; and the parents' values that children point
 * to must be known, which those of the key are.
 */
export function mustLock(shape: BatchShape, facts: PreflightFacts): boolean {
  const { policy, parent, children } = shape
  if (policy.members.length > 0) return true
  const references = referencesOf(shape, facts.references)
  if (policy.archive) {
    const triggers = [parent, ...children].flatMap(
      ({ relation }) => facts.relations.get(keyOf(relation))?.triggers ?? [],
    )
    return !references.every(refusesDelete) || triggers.some(({ event }) => event === 'delete')
  }
  const key = new Set(parent.keyColumns.map(({ name }) => name))
  return (
    references.some(({ onDelete }) => onDelete === 'set-null' || onDelete === 'set-default') ||
    !children.every((child) => child.references.every((name) => key.has(name)))
  )
}

function childShape(policy: Policy, child: Child, facts: PreflightFacts): ChildShape {
  return {
    relation: child.relation,
    name: keyOf(child.relation),
    keyColumns: factsOf(facts, child.relation).primaryKey,
    linkColumns: child.columns.map((name, index) => ({
      name,
      type: typeOf(facts, policy.relation, child.references[index] ?? ''),
    })),
    references: child.references,
    hasForeignKey: facts.references.some(
      (reference) => reference.isEnforced && isForeignKeyOf(reference, policy, child),
    ),
    takesAlong: facts.references.some(
      (reference) => isSameRelation(reference.to, child.relation) && !refusesDelete(reference),
    ),
  }
}

function isForeignKeyOf(reference: ReferenceFacts, policy: Policy, child: Child): boolean {
  if (keyOf(reference.from) !== keyOf(child.relation) || keyOf(reference.to) !== keyOf(policy.relation)) return false
  const pairs = (columns: readonly string[], references: readonly string[]) =>
    columns.map((column, index) => JSON.stringify([column, references[index]]))
  const followed = new Set(pairs(child.columns, child.references))
  // A key over some of the link's columns already keeps the row's parent in place.
  return pairs(reference.columns, reference.references).every((pair) => followed.has(pair))
}

function factsOf(facts: PreflightFacts, relation: RelationName) {
  const found = facts.relations.get(keyOf(relation))
  if (found === undefined) throw new RangeError(`nothing is known of ${keyOf(relation)}`)
  return found
}

function typeOf(facts: PreflightFacts, relation: RelationName, column: string): string {
  const found = factsOf(facts, relation).columns.find(({ name }) => name === column)
  if (found === undefined) throw new RangeError(`${keyOf(relation)} has no column ${column}`)
  return found.type
}
