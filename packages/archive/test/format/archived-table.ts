/** A table on its way into objects and back, as retention and restore will do it. */
import { quoteIdentifier, type DatabaseConnections } from '@battlescope/database'
import { sql } from 'kysely'
import {
  archiveSelect,
  decodeRows,
  encodeObjects,
  pinTextOutput,
  planColumns,
  selectColumns,
  UnrepresentableValue,
  verifyObject,
  type EncodedObject,
  type EncodeOptions,
  type ExpectedObject,
  type PlannedColumn,
} from '../../src/index.js'

export const unit = { statementTimeoutMs: 60_000 }

export interface ArchivedTable {
  readonly columns: readonly PlannedColumn[]
  readonly objects: readonly EncodedObject[]
  /** Columns that their own encoding could not hold. */
  readonly asText: ReadonlySet<string>
}

type Bounds = Pick<EncodeOptions, 'maxObjectBytes' | 'rowGroupBytes' | 'metadata' | 'codec'>

/** Rows in the order of `id`, whose text and row version are the guards. */
export async function archiveTable(
  connections: DatabaseConnections,
  relation: string,
  options: Bounds = {},
): Promise<ArchivedTable> {
  return connections.snapshot(unit, async ({ db }) => {
    const sources = await selectColumns(db, 'public', relation)
    const asText = new Set<string>()
    for (;;) {
      const columns = planColumns(sources, asText)
      try {
        return { columns, objects: await encodeAll(connections, relation, columns, options), asText }
      } catch (error) {
        if (!(error instanceof UnrepresentableValue) || !error.asText) throw error
        asText.add(error.column)
      }
    }
  })
}

async function encodeAll(
  connections: DatabaseConnections,
  relation: string,
  columns: readonly PlannedColumn[],
  options: Bounds,
): Promise<EncodedObject[]> {
  const list = archiveSelect({ columns, alias: 't', guards: ['t.id', 't.xmin'] })
  const statement = `COPY (SELECT ${list} FROM public.${quoteIdentifier(relation)} AS t ORDER BY t.id) TO STDOUT (FORMAT binary)`
  return connections.snapshot(unit, ({ copyTo }) =>
    collect(encodeObjects({ columns, guardCount: 2, source: copyTo(statement), ...options })),
  )
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const item of items) collected.push(item)
  return collected
}

export const expectedOf = (object: EncodedObject, { columns }: Pick<ArchivedTable, 'columns'>): ExpectedObject => ({
  rowCount: object.rowCount,
  sizeBytes: object.bytes.length,
  sha256: object.sha256,
  columns,
  checksums: object.checksums,
})

/** Verifies each object and puts its rows into `relation`, which has the same columns. */
export async function restoreTable(
  connections: DatabaseConnections,
  archived: ArchivedTable,
  relation: string,
): Promise<number> {
  const columns = archived.columns.filter(({ generated }) => !generated)
  const names = columns.map(({ name }) => quoteIdentifier(name))
  let rows = 0
  await connections.transaction(unit, async ({ db }) => {
    for (const statement of pinTextOutput) await sql.raw(statement).execute(db)
    for (const object of archived.objects) {
      await verifyObject(object.bytes, expectedOf(object, archived))
      for await (const group of decodeRows(
        object.bytes,
        columns.map(({ name }) => name),
      )) {
        const parameters = columns.map(({ name }) => sql`${group.values[name]}::text[]`)
        const selected = columns.map(({ typeName }, index) => sql.raw(`c${index}::${typeName}`))
        const aliases = columns.map((_, index) => `c${index}`).join(', ')
        await sql`INSERT INTO public.${sql.raw(quoteIdentifier(relation))} (${sql.raw(names.join(', '))})
          SELECT ${sql.join(selected)} FROM unnest(${sql.join(parameters)}) AS u(${sql.raw(aliases)})`.execute(db)
        rows += group.rowCount
      }
    }
  })
  return rows
}
