/** Which encoding each column gets. Pure: the catalog was read before. */
import type { ColumnEncoding, PlannedColumn, SourceColumn } from './types.js'

/** Types with a binary form that we read, by the OIDs that PostgreSQL never changes (`pg_type.dat`). */
const encodingOfOid: ReadonlyMap<number, ColumnEncoding> = new Map([
  [16, 'boolean'],
  [17, 'bytes'],
  // name, text, bpchar, varchar: their binary form is their text. bpchar keeps its trailing blanks in it, which a cast would cut.
  [19, 'text'],
  [25, 'text'],
  [1042, 'text'],
  [1043, 'text'],
  [20, 'int64'],
  [21, 'int16'],
  [23, 'int32'],
  [114, 'json'],
  [3802, 'json'],
  [700, 'float32'],
  [701, 'float64'],
  [1082, 'date'],
  [1114, 'timestamp'],
  [1184, 'timestamptz'],
  [2950, 'uuid'],
])

/** Of "char", whose cast to text is a function of its own. */
const charOid = 18
/** The first OID that is not of a type in pg_catalog (FirstGenbkiObjectId and later belong to initdb and to users). */
const firstForeignOid = 10_000

/**
 * Plans the columns of a relation: real types where PostgreSQL's binary form is simple and Parquet has the type, PostgreSQL's own text
 * for everything else.
 * @param asText columns that turned out to hold what their encoding cannot (see UnrepresentableValue): text for these, too
 */
export function planColumns(
  columns: readonly SourceColumn[],
  asText: ReadonlySet<string> = new Set(),
): readonly PlannedColumn[] {
  return columns.map((column) => {
    const { name, typeName, notNull, generated } = column
    const list = column.elementOid !== 0
    const encoding = asText.has(name) ? undefined : encodingOf(column)
    const shared = { name, typeName, notNull, generated }
    if (encoding !== undefined) return { ...shared, encoding, list, selectAs: 'value' }
    return { ...shared, encoding: 'text', list: false, selectAs: hasFaithfulCast(column) ? 'cast' : 'output' }
  })
}

function encodingOf({ typeOid, typeKind, elementOid, elementKind }: SourceColumn): ColumnEncoding | undefined {
  const [oid, kind] = elementOid === 0 ? [typeOid, typeKind] : [elementOid, elementKind]
  // An enum's binary form is its label.
  return kind === 'e' ? 'text' : encodingOfOid.get(oid)
}

/** Types of users may have a cast to text that loses something; PostgreSQL's own, the listed one apart, have none. */
function hasFaithfulCast({ typeOid, typeKind }: SourceColumn): boolean {
  return typeKind === 'b' && typeOid < firstForeignOid && typeOid !== charOid
}
