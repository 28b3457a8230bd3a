/** Random schemas, rows and policies over them: the traps of the catalog in every mixture. */
import fc from 'fast-check'

export const horizonAt = '2021-11-23 02:00:00+00'

const actions = ['NO ACTION', 'RESTRICT', 'CASCADE', 'SET NULL', 'SET DEFAULT'] as const
const triggers = ['none', 'disabled', 'keeping', 'raising', 'writing', 'swallowing', 'statement', 'update'] as const

export interface TableDraft {
  readonly kind: 'table' | 'hash' | 'range'
  readonly key: 'id' | 'id-and-k' | 'none'
  readonly trigger: (typeof triggers)[number]
  readonly rowSecurity: 'none' | 'enabled' | 'forced'
  readonly rule: 'none' | 'DELETE' | 'UPDATE'
  readonly published: 'no' | 'well' | 'badly'
  readonly inherited: boolean
  readonly lacks: 'nothing' | 'SELECT' | 'UPDATE' | 'DELETE'
  readonly timeIndex: boolean
  readonly rows: readonly RowDraft[]
}

export interface RowDraft {
  /** Days from the horizon; undefined: no time. */
  readonly day: number | undefined
  readonly flag: boolean
  /** What each of the foreign keys of its table points to: a number that is cut to the rows there; undefined: NULL. */
  readonly targets: readonly (number | undefined)[]
}

export interface ReferenceDraft {
  readonly from: number
  readonly to: number
  readonly onDelete: (typeof actions)[number]
  readonly deferred: boolean
  readonly notValid: boolean
  readonly index: 'none' | 'full' | 'partial'
  /** Only on one partition of a relation partitioned by hash. */
  readonly onPartition: boolean
  /** How a policy over the target has it. */
  readonly role: 'child' | 'member' | 'none'
}

/** Where two relations point to the same one, a foreign key between them that pairs the columns by which they do. */
export interface SiblingDraft {
  readonly from: number
  readonly to: number
  readonly onDelete: (typeof actions)[number]
}

export interface PolicyDraft {
  readonly table: number
  /** Rows whose flag is NULL stay. */
  readonly keepsFlagged: boolean
  readonly allowTriggers: boolean
  /** Children by a column without a foreign key. */
  readonly plainChildren: readonly number[]
  readonly withOther: boolean
}

export interface SchemaDraft {
  readonly tables: readonly TableDraft[]
  readonly references: readonly ReferenceDraft[]
  readonly siblings: readonly SiblingDraft[]
  readonly policies: readonly PolicyDraft[]
}

/** The first one mostly: most schemas must have few traps, or preflight would block them all. */
const mostly = <T>(usual: T, rare: readonly T[], weight = 14): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...rare) })

const row: fc.Arbitrary<RowDraft> = fc.record({
  day: fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: -60, max: -1 }) },
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 60 }) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  ),
  flag: mostly(true, [false], 5),
  targets: fc.array(fc.option(fc.nat(20), { nil: undefined, freq: 4 }), { minLength: 8, maxLength: 8 }),
})

const table: fc.Arbitrary<TableDraft> = fc.record({
  kind: mostly<TableDraft['kind']>('table', ['hash', 'range'], 6),
  key: fc.oneof(
    { weight: 14, arbitrary: fc.constant('id' as const) },
    { weight: 5, arbitrary: fc.constant('id-and-k' as const) },
    { weight: 1, arbitrary: fc.constant('none' as const) },
  ),
  trigger: mostly<TableDraft['trigger']>('none', triggers.slice(1)),
  rowSecurity: mostly<TableDraft['rowSecurity']>('none', ['enabled', 'forced'], 25),
  rule: mostly<TableDraft['rule']>('none', ['DELETE', 'UPDATE'], 30),
  published: mostly<TableDraft['published']>('no', ['well', 'badly'], 20),
  inherited: mostly(false, [true], 40),
  lacks: mostly<TableDraft['lacks']>('nothing', ['SELECT', 'UPDATE', 'DELETE'], 25),
  timeIndex: fc.boolean(),
  rows: fc.array(row, { maxLength: 7 }),
})

const reference: fc.Arbitrary<ReferenceDraft> = fc.record({
  from: fc.nat(4),
  to: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(4) }),
  onDelete: fc.constantFrom(...actions),
  deferred: mostly(false, [true], 5),
  notValid: mostly(false, [true], 8),
  index: fc.constantFrom('none', 'full', 'partial'),
  onPartition: fc.boolean(),
  role: fc.oneof(
    { weight: 10, arbitrary: fc.constant('child' as const) },
    { weight: 6, arbitrary: fc.constant('member' as const) },
    { weight: 1, arbitrary: fc.constant('none' as const) },
  ),
})

const sibling: fc.Arbitrary<SiblingDraft> = fc.record({
  from: fc.nat(5),
  to: fc.nat(5),
  onDelete: fc.constantFrom(...actions),
})

const policy = (index: number): fc.Arbitrary<PolicyDraft> =>
  fc.record({
    table: fc.constant(index),
    keepsFlagged: fc.boolean(),
    allowTriggers: mostly(false, [true], 6),
    plainChildren: fc.array(fc.nat(4), { maxLength: 1 }),
    withOther: mostly(true, [false], 2),
  })

const anySchema: fc.Arbitrary<SchemaDraft> = fc.record({
  tables: fc.array(table, { minLength: 2, maxLength: 5 }),
  references: fc.array(reference, { maxLength: 6 }),
  siblings: fc.array(sibling, { maxLength: 1 }),
  policies: fc.oneof(fc.tuple(policy(0)), fc.tuple(policy(0), policy(1))),
})

/** Two children of one relation, and foreign keys between them: what chance alone hardly ever makes. */
const familySchema: fc.Arbitrary<SchemaDraft> = fc
  .record({
    draft: anySchema,
    brothers: fc.tuple(table, table, table),
    pointers: fc.tuple(reference, reference),
    between: fc.array(fc.record({ draft: reference, isUp: fc.boolean() }), { maxLength: 1 }),
    siblings: fc.array(sibling, { minLength: 1, maxLength: 2 }),
  })
  .map(({ draft, brothers, pointers, between, siblings }) => ({
    ...draft,
    tables: brothers.map((each) => ({ ...each, kind: 'table', key: 'id', inherited: false })),
    references: [
      ...pointers.map((each, index): ReferenceDraft => ({ ...each, from: index + 1, to: 0, role: 'child' })),
      ...between.map(({ draft: each, isUp }): ReferenceDraft => ({
        ...each,
        from: isUp ? 1 : 2,
        to: isUp ? 2 : 1,
        role: 'none',
      })),
    ],
    siblings,
    policies: draft.policies.slice(0, 1),
  }))

export const schema: fc.Arbitrary<SchemaDraft> = fc.oneof(
  { weight: 4, arbitrary: anySchema },
  { weight: 1, arbitrary: familySchema },
)

/** A foreign key as it will be made. */
interface Reference extends ReferenceDraft {
  readonly name: string
  readonly columns: readonly string[]
  readonly references: readonly string[]
}

export interface RandomSchema {
  /** Statements that make the relations and fill them; the last ones add what would be in the way of filling. */
  readonly ddl: readonly string[]
  readonly tables: readonly string[]
  /** For the option `policies`. */
  readonly policies: readonly object[]
}

const keyColumnsOf = ({ key, kind }: TableDraft): readonly string[] => {
  if (key === 'none') return []
  return ['id', ...(key === 'id-and-k' ? ['k'] : []), ...(kind === 'range' ? ['at'] : [])]
}
const typeOf: Readonly<Record<string, string>> = { id: 'int', k: 'int', at: 'timestamptz' }
const timeOf = (day: number): string => `'${horizonAt}'::timestamptz + interval '${day} days'`

export function randomSchema(draft: SchemaDraft): RandomSchema {
  const { tables } = draft
  const references = referencesOf(draft)
  const siblings = siblingsOf(draft, references)
  return {
    tables: tables.map((_, index) => `t${index}`),
    ddl: [
      `CREATE TABLE log (what text)`,
      ...tables.flatMap((each, index) => createTable(each, index, references, siblings)),
      ...tables.flatMap((each, index) => fillTable(draft, each, index, references, siblings)),
      ...references.flatMap((each) => addReference(each, tables)),
      ...siblings.flatMap((each) => each.ddl),
      ...tables.flatMap(addTraps),
    ],
    policies: policiesOf(draft, references),
  }
}

function referencesOf({ tables, references }: SchemaDraft): readonly Reference[] {
  return references.flatMap((each, index) => {
    const [from, to] = [each.from % tables.length, each.to % tables.length]
    const key = keyColumnsOf(tables[to]!)
    if (key.length === 0) return []
    return [
      { ...each, from, to, name: `r${index}`, columns: key.map((column) => `r${index}_${column}`), references: key },
    ]
  })
}

interface Sibling {
  readonly from: number
  readonly to: number
  readonly pointer: Reference
  readonly target: Reference
  readonly column: string
  readonly ddl: readonly string[]
}

/** Both point to the same relation by one column; the target gets a unique key of that and its own. */
function siblingsOf({ tables, siblings }: SchemaDraft, references: readonly Reference[]): readonly Sibling[] {
  return siblings.flatMap(({ from, to, onDelete }, index) => {
    const pointer = references[from % Math.max(1, references.length)]
    const target = references[to % Math.max(1, references.length)]
    if (pointer === undefined || target === undefined || pointer.to !== target.to || pointer.from === target.from)
      return []
    const table = tables[target.from]!
    if (pointer.columns.length > 1 || table.kind !== 'table' || table.key !== 'id') return []
    const own = target.columns[0]!
    return [
      {
        from: pointer.from,
        to: target.from,
        pointer,
        target,
        column: `sibling${index}_id`,
        ddl: [
          `ALTER TABLE t${target.from} ADD CONSTRAINT sibling${index}_key UNIQUE (${own}, id)`,
          `ALTER TABLE t${pointer.from} ADD CONSTRAINT sibling${index} FOREIGN KEY (${pointer.columns[0]}, sibling${index}_id) REFERENCES t${target.from} (${own}, id) ON DELETE ${onDelete}`,
        ],
      },
    ]
  })
}

function createTable(
  each: TableDraft,
  index: number,
  references: readonly Reference[],
  siblings: readonly Sibling[],
): string[] {
  const name = `t${index}`
  const key = keyColumnsOf(each)
  const columns = [
    'id int NOT NULL',
    'k int NOT NULL',
    `at timestamptz${each.kind === 'range' ? ' NOT NULL' : ''}`,
    'flag int',
    'plain int',
    ...siblings.filter(({ from }) => from === index).map(({ column }) => `${column} int`),
    ...references
      .filter(({ from }) => from === index)
      .flatMap((reference) => reference.columns.map((column, at) => `${column} ${typeOf[reference.references[at]!]!}`)),
    ...(key.length === 0 || (each.kind === 'hash' && !key.includes('id')) ? [] : [`PRIMARY KEY (${key.join(', ')})`]),
  ]
  const by = { table: '', hash: ' PARTITION BY HASH (id)', range: ' PARTITION BY RANGE (at)' }[each.kind]
  const partitions = {
    table: [],
    hash: [0, 1].map(
      (rest) => `CREATE TABLE ${name}_${rest} PARTITION OF ${name} FOR VALUES WITH (MODULUS 2, REMAINDER ${rest})`,
    ),
    range: [
      `CREATE TABLE ${name}_0 PARTITION OF ${name} FOR VALUES FROM (MINVALUE) TO ('${horizonAt}')`,
      `CREATE TABLE ${name}_1 PARTITION OF ${name} DEFAULT`,
    ],
  }[each.kind]
  return [`CREATE TABLE ${name} (${columns.join(', ')})${by}`, ...partitions]
}

function timeOfRow({ day }: RowDraft, { kind }: TableDraft): string {
  if (day === undefined) return kind === 'range' ? timeOf(-1) : 'NULL'
  return timeOf(day)
}

function fillTable(
  { tables }: SchemaDraft,
  each: TableDraft,
  index: number,
  references: readonly Reference[],
  siblings: readonly Sibling[],
): string[] {
  const own = references.filter(({ from }) => from === index)
  /** Which row of the target the row points to. */
  const pointsTo = (draft: RowDraft, reference: Reference): number | undefined => {
    const at = draft.targets[references.indexOf(reference)]
    const count = tables[reference.to]!.rows.length
    return at === undefined || count === 0 ? undefined : at % count
  }
  return each.rows.map((draft, position) => {
    const values: Record<string, string> = {
      id: String(position),
      k: String(position % 2),
      at: timeOfRow(draft, each),
      flag: draft.flag ? '1' : 'NULL',
      plain: draft.targets[7] === undefined ? 'NULL' : String(draft.targets[7] % 7),
    }
    for (const reference of own) {
      const target = tables[reference.to]!
      const row = pointsTo(draft, reference)
      for (const [at, column] of reference.columns.entries()) {
        const pointed = reference.references[at]!
        values[column] =
          row === undefined
            ? 'NULL'
            : { id: String(row), k: String(row % 2), at: timeOfRow(target.rows[row]!, target) }[pointed]!
      }
    }
    for (const { pointer, target, column } of siblings.filter(({ from }) => from === index)) {
      const parent = pointsTo(draft, pointer)
      const brother = tables[target.from]!.rows.findIndex(
        (other) => parent !== undefined && pointsTo(other, target) === parent,
      )
      values[column] = brother < 0 ? 'NULL' : String(brother)
    }
    return `INSERT INTO t${index} (${Object.keys(values).join(', ')}) VALUES (${Object.values(values).join(', ')})`
  })
}

function addReference(reference: Reference, tables: readonly TableDraft[]): string[] {
  const { from, to, name, columns, references, onDelete, deferred, notValid, index, onPartition } = reference
  const isHash = tables[from]!.kind === 'hash'
  const holder = isHash && onPartition ? `t${from}_0` : `t${from}`
  // NOT VALID is not to be had on partitioned relations (15 to 17).
  const later = notValid && tables[from]!.kind === 'table' ? ' NOT VALID' : ''
  const list = columns.join(', ')
  const where = index === 'partial' ? ` WHERE ${columns.map((column) => `${column} IS NOT NULL`).join(' AND ')}` : ''
  return [
    `ALTER TABLE ${holder} ADD CONSTRAINT ${name} FOREIGN KEY (${list}) REFERENCES t${to} (${references.join(', ')}) ON DELETE ${onDelete}` +
      `${deferred ? ' DEFERRABLE INITIALLY DEFERRED' : ''}${later}`,
    ...(index === 'none' ? [] : [`CREATE INDEX ON t${from} (${list})${where}`]),
  ]
}

const triggerBodies: Readonly<Record<TableDraft['trigger'], string>> = {
  none: '',
  disabled: `RAISE EXCEPTION 'no'`,
  keeping: 'RETURN OLD',
  raising: `RAISE EXCEPTION 'no'`,
  writing: `INSERT INTO log VALUES (OLD::text); RETURN OLD`,
  swallowing: 'RETURN NULL',
  statement: `INSERT INTO log VALUES ('statement'); RETURN NULL`,
  update: `INSERT INTO log VALUES ('update'); RETURN NULL`,
}

function addTraps(each: TableDraft, index: number): string[] {
  const name = `t${index}`
  const isStatement = each.trigger === 'statement' || each.trigger === 'update'
  const when = isStatement ? `AFTER ${each.trigger === 'update' ? 'UPDATE' : 'DELETE'}` : 'BEFORE DELETE'
  const per = isStatement ? 'STATEMENT' : 'ROW'
  return [
    `GRANT ALL ON ${name} TO PUBLIC`,
    'GRANT ALL ON log TO PUBLIC',
    ...(each.timeIndex ? [`CREATE INDEX ON ${name} (at)`] : []),
    ...(each.lacks === 'nothing' ? [] : [`REVOKE ${each.lacks} ON ${name} FROM PUBLIC`]),
    ...(each.trigger === 'none'
      ? []
      : [
          `CREATE FUNCTION ${name}_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${triggerBodies[each.trigger]}; END $$`,
          `CREATE TRIGGER tr ${when} ON ${name} FOR EACH ${per} EXECUTE FUNCTION ${name}_f()`,
          ...(each.trigger === 'disabled' ? [`ALTER TABLE ${name} DISABLE TRIGGER tr`] : []),
        ]),
    ...(each.rule === 'none' ? [] : [`CREATE RULE ru AS ON ${each.rule} TO ${name} DO INSTEAD NOTHING`]),
    ...(each.rowSecurity === 'none'
      ? []
      : [`ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`, `CREATE POLICY half ON ${name} USING (id % 2 = 0)`]),
    ...(each.rowSecurity === 'forced' ? [`ALTER TABLE ${name} FORCE ROW LEVEL SECURITY`] : []),
    ...(each.published === 'no' ? [] : [`CREATE PUBLICATION ${name}_pub FOR TABLE ${name}`]),
    ...(each.published === 'badly'
      ? [
          `ALTER TABLE ${name} REPLICA IDENTITY NOTHING`,
          ...(each.kind === 'table' ? [] : [0, 1].map((at) => `ALTER TABLE ${name}_${at} REPLICA IDENTITY NOTHING`)),
        ]
      : []),
    ...(each.inherited && each.kind === 'table'
      ? [`CREATE TABLE ${name}_heir () INHERITS (${name})`, `GRANT ALL ON ${name}_heir TO PUBLIC`]
      : []),
  ]
}

const harmless: readonly TableDraft['trigger'][] = ['none', 'disabled', 'keeping', 'writing', 'statement', 'update']

function policiesOf({ tables, policies }: SchemaDraft, references: readonly Reference[]): readonly object[] {
  // A relation is deleted from by one policy only.
  const taken = new Set(policies.map(({ table: index }) => index))
  return policies.map((draft, position) => {
    const { table: index } = draft
    const children: object[] = []
    const members: object[] = []
    for (const reference of references) {
      if (reference.to !== index || reference.role === 'none') continue
      const link = { relation: `t${reference.from}`, columns: reference.columns, references: reference.references }
      if (reference.role === 'child' && !taken.has(reference.from)) {
        taken.add(reference.from)
        children.push(link)
      } else members.push({ ...link, timeColumn: 'at' })
    }
    for (const plain of draft.plainChildren) {
      const child = plain % tables.length
      if (tables[index]!.key !== 'id' || tables[index]!.kind === 'range' || taken.has(child)) continue
      taken.add(child)
      children.push({ relation: `t${child}`, columns: ['plain'], references: ['id'] })
    }
    const other = policies.find(({ table: otherIndex }) => otherIndex !== index)
    const pointer = references.find(({ from, to }) => from === index && to === other?.table)
    // Only the last: two that go with one another are refused.
    const group = position === 1 && draft.withOther ? pointer : undefined
    return {
      name: `p${index}`,
      relation: `t${index}`,
      timeColumn: 'at',
      // Whoever allows triggers has made sure that they are harmless.
      allowTriggers: draft.allowTriggers && tables.every(({ trigger }) => harmless.includes(trigger)),
      keepWhile: draft.keepsFlagged ? [{ column: 'flag', is: 'null' }] : [],
      children,
      members,
      ...(group === undefined || other === undefined
        ? {}
        : { with: { policy: `p${other.table}`, columns: group.columns, references: group.references } }),
    }
  })
}
