/** Whether the columns that a policy names exist, and are of types and keys that it can work with. Pure. */
import { quoteIdentifier } from '@battlescope/database'
import { keyOf, type Link, type Policy } from './policy.js'
import type { PreflightFacts, RelationFacts } from './preflight-facts.js'
import { sqlName } from './preflight-relations.js'
import type { Problem } from './preflight-report.js'

const timeType = 'timestamp with time zone'

export function columnProblems(
  { relations }: PreflightFacts,
  policy: Policy,
  group: Policy | undefined,
): readonly Problem[] {
  const factsOf = ({ relation }: Pick<Policy, 'relation'>) => relations.get(keyOf(relation))
  const own = factsOf(policy)
  if (own === undefined) return []
  const link = policy.with
  const groupFacts = group === undefined ? undefined : factsOf(group)
  return [
    ...timeProblems(own, policy.timeColumn),
    ...policy.keepWhile.flatMap((condition) =>
      'within' in condition ? timeProblems(own, condition.column) : missing(own, [condition.column]),
    ),
    ...[...policy.children, ...policy.members].flatMap((each) => pairProblems(factsOf(each), each, own)),
    ...policy.members.flatMap((member) => {
      const facts = factsOf(member)
      return facts === undefined || member.timeColumn === undefined ? [] : timeProblems(facts, member.timeColumn)
    }),
    ...policy.children.flatMap((child) => uniqueProblems(own, child)),
    ...(link === undefined || groupFacts === undefined ? [] : pairProblems(own, link, groupFacts)),
  ]
}

/** Only a timestamptz is an instant; what other types mean depends on settings that are not ours. */
function timeProblems(facts: RelationFacts, column: string): readonly Problem[] {
  const found = facts.columns.find(({ name }) => name === column)
  if (found === undefined) return missing(facts, [column])
  if (found.baseType === timeType) return []
  const quoted = quoteIdentifier(column)
  return [
    {
      code: 'column-type',
      relation: keyOf(facts.relation),
      summary: `${keyOf(facts.relation)}.${column} is of the type ${found.type}, not ${timeType}`,
      // Other types have no conversion that could be told from here.
      ...(/^(timestamp without time zone|date)$/.test(found.baseType) && {
        mend: [
          `ALTER TABLE ${sqlName(facts)} ALTER COLUMN ${quoted} TYPE timestamptz USING ${quoted}::timestamp AT TIME ZONE 'UTC'`,
        ],
        hint: 'if its times are in UTC; it rewrites the relation under an exclusive lock',
      }),
    },
  ]
}

function missing(facts: RelationFacts, columns: readonly string[]): readonly Problem[] {
  const relation = keyOf(facts.relation)
  return columns
    .filter((column) => !facts.columns.some(({ name }) => name === column))
    .map((column) => ({ code: 'column-missing', relation, summary: `${relation} has no column ${column}` }))
}

/** Types whose values PostgreSQL compares with one another. Every other type is compared with itself alone. */
const families: readonly (readonly string[])[] = [
  ['smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision'],
  ['text', 'character varying', 'character'],
]

function pairProblems(
  from: RelationFacts | undefined,
  { columns, references }: Pick<Link, 'columns' | 'references'>,
  to: RelationFacts,
): readonly Problem[] {
  if (from === undefined) return []
  const problems = [...missing(from, columns), ...missing(to, references)]
  if (problems.length > 0) return problems
  return columns.flatMap((column, index): readonly Problem[] => {
    const reference = references[index] ?? ''
    const [a, b] = [typeOf(from, column), typeOf(to, reference)]
    const collations = [collationOf(from, column), collationOf(to, reference)]
    if (collations[0] !== collations[1]) return [differentCollations(from, column, to, reference)]
    if (a === b || families.some((family) => family.includes(a) && family.includes(b))) return []
    const summary = `${keyOf(from.relation)}.${column} (${a}) cannot be compared with ${keyOf(to.relation)}.${reference} (${b})`
    return [{ code: 'column-type', relation: keyOf(from.relation), summary }]
  })
}

/** A foreign key then compares by the referenced column's collation, and we by the pointing one's: it would find rows that we do not. */
function differentCollations(from: RelationFacts, column: string, to: RelationFacts, reference: string): Problem {
  const named = [`${keyOf(from.relation)}.${column}`, `${keyOf(to.relation)}.${reference}`]
  const odd = collationOf(from, column) ?? collationOf(to, reference) ?? ''
  return {
    code: 'column-type',
    relation: keyOf(from.relation),
    summary: `${named.join(' and ')} have different collations, of which ${odd} takes different texts for equal`,
    hint: 'give both columns the same collation',
  }
}

function collationOf({ columns }: RelationFacts, column: string): string | undefined {
  return columns.find(({ name }) => name === column)?.nondeterministicCollation
}

function typeOf({ columns }: RelationFacts, column: string): string {
  return columns.find(({ name }) => name === column)?.baseType ?? ''
}

/** A child of two rows would lose its other parent's sake when the first of them goes. */
function uniqueProblems(own: RelationFacts, child: Link): readonly Problem[] {
  const isUnique = own.indexes.some(
    ({ isUnique: unique, isValid, predicate, columns }) =>
      unique &&
      isValid &&
      predicate === undefined &&
      columns.every((column) => column !== undefined && child.references.includes(column)),
  )
  if (isUnique) return []
  const references = child.references.join(', ')
  return [
    {
      code: 'child-not-unique',
      relation: keyOf(own.relation),
      summary: `${keyOf(own.relation)} (${references}) is not unique: rows of ${keyOf(child.relation)} may belong to several rows, and would go with the first`,
      mend: [
        `CREATE UNIQUE INDEX CONCURRENTLY ON ${sqlName(own)} (${child.references.map(quoteIdentifier).join(', ')})`,
      ],
    },
  ]
}
