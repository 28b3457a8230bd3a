/** What is wrong with a list of policies beyond the shape of each, and their order. Pure. */
import { parseRelationName } from '@battlescope/database'
import type { Period } from '@battlescope/scheduler-core'

/** A policy as far as it is looked at here. */
interface Linked {
  readonly relation: string
  readonly columns: readonly string[]
  readonly references: readonly string[]
}

interface ConfiguredPolicy {
  readonly name: string
  readonly relation: string
  readonly keep?: Period | undefined
  readonly confirmShortPeriod: boolean
  readonly children: readonly Linked[]
  readonly members: readonly Linked[]
  readonly with?:
    { readonly policy: string; readonly columns: readonly string[]; readonly references: readonly string[] } | undefined
}

export interface PolicyProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** What is wrong with the name of a relation; undefined: nothing. */
export function relationProblem(text: string): string | undefined {
  try {
    const { schema } = parseRelationName(text)
    return /^(pg_.*|information_schema)$/.test(schema) ? `the schema ${schema} is PostgreSQL's own` : undefined
  } catch (error) {
    return (error as Error).message
  }
}

const identityOf = (text: string): string =>
  relationProblem(text) === undefined ? JSON.stringify(parseRelationName(text)) : text

/** Every problem at once; paths begin at the list. */
export function policyProblems(policies: readonly ConfiguredPolicy[]): readonly PolicyProblem[] {
  return [
    ...repeatedNames(policies),
    ...repeatedRelations(policies),
    ...policies.flatMap((policy, index) => linkProblems(policies, policy, index)),
    ...cycleProblems(policies),
  ]
}

function repeatedNames(policies: readonly ConfiguredPolicy[]): PolicyProblem[] {
  return policies.flatMap(({ name }, index) =>
    policies.findIndex((other) => other.name === name) < index
      ? [{ path: [index, 'name'], message: `a name of its own: '${name}' is used twice` }]
      : [],
  )
}

/** Two policies that delete from one relation would each take rows that the other counts on. */
function repeatedRelations(policies: readonly ConfiguredPolicy[]): PolicyProblem[] {
  const places = policies.flatMap((policy, index) => [
    { path: [index, 'relation'], relation: policy.relation },
    ...policy.children.map((child, at) => ({ path: [index, 'children', at, 'relation'], relation: child.relation })),
  ])
  const first = new Map<string, string>()
  return places.flatMap(({ path, relation }) => {
    const identity = identityOf(relation)
    const before = first.get(identity)
    if (before === undefined) {
      first.set(identity, path.join('.'))
      return []
    }
    return [{ path, message: `a relation that is named once: ${relation} is already deleted from by ${before}` }]
  })
}

function linkProblems(policies: readonly ConfiguredPolicy[], policy: ConfiguredPolicy, index: number): PolicyProblem[] {
  const pairs = (path: (string | number)[], { columns, references }: Omit<Linked, 'relation'>): PolicyProblem[] => {
    const problems: PolicyProblem[] = []
    if (columns.length !== references.length) {
      problems.push({ path: [...path, 'references'], message: `as many columns as columns has: ${columns.length}` })
    }
    if (new Set(columns).size < columns.length) {
      problems.push({ path: [...path, 'columns'], message: 'each column once' })
    }
    if (new Set(references).size < references.length) {
      problems.push({ path: [...path, 'references'], message: 'each column once' })
    }
    return problems
  }
  const group = policy.with
  const groupAt = policies.findIndex(({ name }) => name === group?.policy)
  const known = policies.map(({ name }) => name)
  return [
    ...policy.children.flatMap((child, at) => pairs([index, 'children', at], child)),
    ...policy.members.flatMap((member, at) => pairs([index, 'members', at], member)),
    ...(group === undefined ? [] : pairs([index, 'with'], group)),
    ...(group === undefined || known.includes(group.policy)
      ? []
      : [{ path: [index, 'with', 'policy'], message: `the name of a policy: one of ${known.join(', ')}` }]),
    // Rows that belong together are found by what they all point to.
    ...(policies[groupAt]?.members ?? []).flatMap((member, at) =>
      group === undefined || isSameSet(member.references, group.references)
        ? []
        : [
            {
              path: [groupAt, 'members', at, 'references'],
              message: `the columns that '${policy.name}' points to as well: ${group.references.join(', ')}`,
            },
          ],
    ),
  ]
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return [...a].sort().join('\0') === [...b].sort().join('\0')
}

/** Which policies must run before a group's: what belongs to the group, and what deletes its members. */
function predecessors(policies: readonly ConfiguredPolicy[], group: ConfiguredPolicy): readonly ConfiguredPolicy[] {
  // A relation that is a member of itself waits for its own rows, from run to run: that is an order of rows, not of policies.
  const own = new Set([group, ...group.children].map(({ relation }) => identityOf(relation)))
  const waitsFor = new Set(group.members.map(({ relation }) => identityOf(relation)).filter((each) => !own.has(each)))
  return policies.filter(
    (policy) =>
      policy.with?.policy === group.name ||
      [policy, ...policy.children].some(({ relation }) => waitsFor.has(identityOf(relation))),
  )
}

function cycleProblems(policies: readonly ConfiguredPolicy[]): PolicyProblem[] {
  const ordered = new Set(orderPolicies(policies))
  return policies.flatMap((policy, index) =>
    ordered.has(policy)
      ? []
      : [
          {
            path: [index],
            message: `an order in which policies can run: '${policy.name}' waits for itself, or for policies that do`,
          },
        ],
  )
}

/** As configured, except that what must run first comes first. Policies in a circle, and what waits for them, are left out. */
export function orderPolicies<P extends ConfiguredPolicy>(policies: readonly P[]): readonly P[] {
  const ordered: P[] = []
  for (;;) {
    const next = policies.find(
      (policy) =>
        !ordered.includes(policy) && predecessors(policies, policy).every((before) => ordered.includes(before as P)),
    )
    if (next === undefined) return ordered
    ordered.push(next)
  }
}

interface Floor {
  readonly policies: readonly ConfiguredPolicy[]
  readonly keep: Period
  readonly minimumKeep: Period
}

/** Twelfths of a day, a month being the twelfth of 365 days: so `1 year` is `365 days`, and `1 month` a little more than `30 days`. */
const lengthOf = ({ months, days }: Period): number => months * 365 + days * 12

/** Policies whose period is under the floor without saying that it is meant. Paths begin at the options. */
export function shortPeriodProblems({ policies, keep, minimumKeep }: Floor): readonly PolicyProblem[] {
  return policies.flatMap((policy, index) =>
    policy.confirmShortPeriod || lengthOf(policy.keep ?? keep) >= lengthOf(minimumKeep)
      ? []
      : [
          {
            path: ['policies', index, policy.keep === undefined ? 'confirmShortPeriod' : 'keep'],
            message: `at least minimumKeep, or confirmShortPeriod: true, where '${policy.name}' is meant to keep rows for less`,
          },
        ],
  )
}
