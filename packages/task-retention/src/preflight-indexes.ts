/** Which indexes retention would need, what it costs to lack them, and the statements that build them. Pure. */
import { maxIdentifierBytes, quoteIdentifier } from '@battlescope/database'
import { keyOf, type Link, type Policy } from './policy.js'
import type { IndexFacts, PreflightFacts, RelationFacts } from './preflight-facts.js'
import { sqlName } from './preflight-relations.js'
import type { MissingIndex, Problem } from './preflight-report.js'

/**
 * Bytes of a relation that one process scans in a millisecond, from memory: 347 MB of killmails took 110 ms. From a disk it takes longer by
 * an order of magnitude, so the prediction is what the wait is at least.
 */
const scannedBytesPerMs = 3_000_000

/** What that many scans of a relation take. */
function scansMs({ heapBytes }: Pick<RelationFacts, 'heapBytes'>, scans: number): number {
  return Math.round((heapBytes / scannedBytesPerMs) * scans)
}

/** Whether rows with given values of the columns can be found by an index. NULL is never looked for, so an index may leave it out. */
export function hasLookupIndex({ indexes }: Pick<RelationFacts, 'indexes'>, columns: readonly string[]): boolean {
  return indexes.some(
    (index) =>
      index.isValid &&
      (index.method === 'btree' || (index.method === 'hash' && columns.length === 1)) &&
      leads(index, columns) &&
      (index.predicate === undefined || onlyLeavesOutNulls(index.predicate, columns)),
  )
}

function leads(index: IndexFacts, columns: readonly string[]): boolean {
  const leading = index.columns.slice(0, columns.length)
  return leading.length === columns.length && columns.every((column) => leading.includes(column))
}

/** PostgreSQL writes `(battle_id IS NOT NULL)`, and `((a IS NOT NULL) AND (b IS NOT NULL))`. */
function onlyLeavesOutNulls(predicate: string, columns: readonly string[]): boolean {
  const written = columns.flatMap((column) => [column, quoteIdentifier(column)])
  return predicate
    .replace(/^\((\(.*\))\)$/s, '$1')
    .split(' AND ')
    .every((part) => written.some((column) => part === `(${column} IS NOT NULL)`))
}

/** A BRIN index will do for ranges of a column that grows with the rows. */
function hasTimeIndex({ indexes }: RelationFacts, timeColumn: string): boolean {
  return indexes.some(
    (index) =>
      index.isValid &&
      (index.method === 'btree' || index.method === 'brin') &&
      index.columns[0] === timeColumn &&
      (index.predicate === undefined || onlyLeavesOutNulls(index.predicate, [timeColumn])),
  )
}

export interface IndexNeeds {
  /** Foreign keys that PostgreSQL checks for every deleted row. */
  readonly checked: readonly Link[]
  readonly batchRows: number
}

export function judgeIndexes(
  facts: PreflightFacts,
  policy: Policy,
  { checked, batchRows }: IndexNeeds,
): readonly Problem[] {
  const problems = new Map<string, Problem>()
  const lookups = [
    ...checked.map((link) => ({ link, isChecked: true })),
    ...[...policy.children, ...policy.members].map((link) => ({ link, isChecked: false })),
  ]
  for (const { link, isChecked } of lookups) {
    const relation = facts.relations.get(keyOf(link.relation))
    const columns = link.columns
    const place = `${keyOf(link.relation)} (${columns.join(', ')})`
    if (relation === undefined || problems.has(place) || hasLookupIndex(relation, columns)) continue
    problems.set(place, {
      code: 'reference-index-missing',
      relation: keyOf(link.relation),
      summary: isChecked
        ? `no index on ${place}: every row that ${policy.name} deletes costs a scan of it`
        : `no index on ${place}: every batch of ${policy.name} costs a scan of it`,
      predictedMs: scansMs(relation, isChecked ? batchRows : 1),
      per: 'batch',
      ...missingIndex(relation, columns),
    })
  }
  const own = facts.relations.get(keyOf(policy.relation))
  if (own === undefined || hasTimeIndex(own, policy.timeColumn)) return [...problems.values()]
  const timeIndex: Problem = {
    code: 'time-index-missing',
    relation: keyOf(policy.relation),
    summary: `no index on ${keyOf(policy.relation)} (${policy.timeColumn}): each slice finds what expired by a scan`,
    predictedMs: scansMs(own, 1),
    per: 'slice',
    ...missingIndex(own, [policy.timeColumn]),
  }
  return [...problems.values(), timeIndex]
}

function missingIndex(facts: RelationFacts, columns: readonly string[]): Pick<Problem, 'mend' | 'hint' | 'index'> {
  const nullable = columns.filter((column) =>
    facts.columns.some(({ name, isNotNull }) => name === column && !isNotNull),
  )
  // Of a single column, rows without a value need no entry: nobody looks them up.
  const where =
    columns.length === 1 && nullable.length === 1 ? ` WHERE ${nullable.map(quoteIdentifier).join()} IS NOT NULL` : ''
  const name = indexName(facts, columns)
  const target = `${quoteIdentifier(name)} ON ${sqlName(facts)} (${columns.map(quoteIdentifier).join(', ')})${where}`
  if (facts.kind === 'partitioned') {
    return {
      mend: [`CREATE INDEX ${target}`],
      hint: 'it blocks writes while it is built; to avoid that, build one CONCURRENTLY on each partition first, then it only joins them',
    }
  }
  const index: MissingIndex = {
    schema: facts.relation.schema,
    name,
    sql: `CREATE INDEX CONCURRENTLY ${target}`,
    invalidExists: facts.indexes.some((existing) => existing.name === name),
  }
  const drop = `DROP INDEX CONCURRENTLY ${quoteIdentifier(facts.relation.schema)}.${quoteIdentifier(name)}`
  return { mend: index.invalidExists ? [drop, index.sql] : [index.sql], index }
}

/** As PostgreSQL would name it; a number tells it from a valid index that has the name already, and an invalid one is to be replaced. */
function indexName({ relation, indexes }: RelationFacts, columns: readonly string[]): string {
  for (let number = 0; ; number += 1) {
    const ending = number === 0 ? '_idx' : `_idx${number}`
    const name = `${cutToBytes(`${relation.name}_${columns.join('_')}`, maxIdentifierBytes - ending.length)}${ending}`
    if (!indexes.some((index) => index.name === name && index.isValid)) return name
  }
}

export function cutToBytes(text: string, bytes: number): string {
  let cut = text
  while (Buffer.byteLength(cut) > bytes) cut = [...cut].slice(0, -1).join('')
  return cut
}
