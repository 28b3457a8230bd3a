/** Opens an object: its footer, held against what the format writes. */
import { parquetMetadata, type ColumnMetaData, type FileMetaData } from 'hyparquet'
import { readColumnValues, type ColumnValues } from './column-values.js'
import { ArchiveMismatch } from './format-error.js'
import { pathOf, schemaOf } from './layout.js'
import { metadataKey, parseObjectMetadata, type ObjectMetadata } from './object-metadata.js'
import type { ArchivedColumn } from './types.js'

export interface OpenedRowGroup {
  readonly rowCount: number
  /** @throws ArchiveMismatch */
  readColumn(index: number): Promise<ColumnValues>
}

export interface OpenedObject extends ObjectMetadata {
  readonly rowCount: number
  readonly rowGroups: readonly OpenedRowGroup[]
  /** Everything in the footer's key-value metadata. */
  readonly metadata: Readonly<Record<string, string>>
}

/** @throws ArchiveMismatch when the footer is not one that `encodeObjects` writes, or contradicts itself */
export function openObject(file: Uint8Array): OpenedObject {
  try {
    return openFooter(file)
  } catch (cause) {
    if (cause instanceof ArchiveMismatch) throw cause
    throw new ArchiveMismatch('its footer cannot be read', { cause })
  }
}

function openFooter(file: Uint8Array): OpenedObject {
  // A row group may be said to lie beyond the end: reading its columns will tell.
  const footer = parquetMetadata(file, { geoparquet: false })
  const metadata = Object.fromEntries((footer.key_value_metadata ?? []).map(({ key, value = '' }) => [key, value]))
  const described = describeObject(metadata)
  const { columns } = described
  assertSame('schema', comparableSchema(schemaOf(columns)), comparableSchema(footer.schema))
  const rowGroups = footer.row_groups.map((group): OpenedRowGroup => {
    const rowCount = Number(group.num_rows)
    const chunks = group.columns.map(({ meta_data }) => meta_data)
    const paths = chunks.map((chunk) => chunk?.path_in_schema)
    assertSame('columns of a row group', columns.map(pathOf), paths)
    return {
      rowCount,
      readColumn: (index) =>
        readColumnValues(file, chunks[index] as ColumnMetaData, columns[index] as ArchivedColumn, rowCount),
    }
  })
  const rowCount = rowGroups.reduce((sum, group) => sum + group.rowCount, 0)
  if (rowCount !== Number(footer.num_rows))
    throw new ArchiveMismatch(`${footer.num_rows} rows in the footer, ${rowCount} in its row groups`)
  return { ...described, rowCount, rowGroups, metadata }
}

function describeObject(metadata: Readonly<Record<string, string>>): ObjectMetadata {
  const text = metadata[metadataKey]
  if (text === undefined) throw new ArchiveMismatch(`its footer has no '${metadataKey}': it is no archive object`)
  try {
    return parseObjectMetadata(text)
  } catch (cause) {
    throw new ArchiveMismatch(`'${metadataKey}' in its footer cannot be read`, { cause })
  }
}

/** What is undefined on one side is absent on the other. */
const comparableSchema = (schema: FileMetaData['schema']): unknown =>
  schema.map(({ name, type, type_length, repetition_type, num_children, converted_type, logical_type }) => [
    name,
    type ?? null,
    type_length ?? null,
    repetition_type ?? null,
    num_children ?? null,
    converted_type ?? null,
    logical_type ?? null,
  ])

export function assertSame(what: string, expected: unknown, actual: unknown): void {
  const [wanted, found] = [JSON.stringify(expected), JSON.stringify(actual)]
  if (wanted !== found) throw new ArchiveMismatch(`${what}: expected ${wanted}, found ${found}`)
}
