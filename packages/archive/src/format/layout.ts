/** How each encoding stands in Parquet, and how its values stand in memory in between ("plain bytes"). */
import type { LogicalType, ParquetType, SchemaElement } from 'hyparquet'
import type { ArchivedColumn, ColumnEncoding } from './types.js'

interface Layout {
  readonly type: ParquetType
  /**
   * Bytes of one value in memory, little-endian as in Parquet; 0: a length of four bytes, then the value. A boolean takes a whole byte
   * in memory and a bit in the file.
   */
  readonly width: number
  readonly annotation: Pick<SchemaElement, 'converted_type' | 'logical_type' | 'type_length'>
}

const timestamp = (isAdjustedToUTC: boolean): LogicalType => ({ type: 'TIMESTAMP', isAdjustedToUTC, unit: 'MICROS' })

/** Old readers know converted types, new ones logical types: both where both exist and say the same. */
export const layouts: Readonly<Record<ColumnEncoding, Layout>> = {
  boolean: { type: 'BOOLEAN', width: 1, annotation: {} },
  // The width in the logical type is one byte in Thrift, for which the writer of the footer takes four: DuckDB refuses the file then.
  int16: { type: 'INT32', width: 4, annotation: { converted_type: 'INT_16' } },
  int32: { type: 'INT32', width: 4, annotation: {} },
  int64: { type: 'INT64', width: 8, annotation: {} },
  float32: { type: 'FLOAT', width: 4, annotation: {} },
  float64: { type: 'DOUBLE', width: 8, annotation: {} },
  date: { type: 'INT32', width: 4, annotation: { converted_type: 'DATE', logical_type: { type: 'DATE' } } },
  // TIMESTAMP_MICROS would say "in UTC", which a timestamp without time zone is not.
  timestamp: { type: 'INT64', width: 8, annotation: { logical_type: timestamp(false) } },
  timestamptz: {
    type: 'INT64',
    width: 8,
    annotation: { converted_type: 'TIMESTAMP_MICROS', logical_type: timestamp(true) },
  },
  uuid: { type: 'FIXED_LEN_BYTE_ARRAY', width: 16, annotation: { type_length: 16, logical_type: { type: 'UUID' } } },
  json: { type: 'BYTE_ARRAY', width: 0, annotation: { converted_type: 'JSON', logical_type: { type: 'JSON' } } },
  bytes: { type: 'BYTE_ARRAY', width: 0, annotation: {} },
  text: { type: 'BYTE_ARRAY', width: 0, annotation: { converted_type: 'UTF8', logical_type: { type: 'STRING' } } },
}

/**
 * Levels, one byte per entry of a column: the definition level in the lower half, the repetition level above it. A flat column has one
 * entry per row, a list one per element, and one for a list without any.
 */
export const flatLevels = { null: 0, value: 1 } as const
export const listLevels = { nullList: 0, emptyList: 1, nullElement: 2, value: 3, repeated: 0x10 } as const
export const definitionMask = 0x0f
export const repetitionShift = 4

export const valueLevel = (list: boolean): number => (list ? listLevels.value : flatLevels.value)

/** Everything is optional: PostgreSQL 18 has NOT NULL constraints that are not valid yet, over rows that hold NULL. */
export function schemaOf(columns: readonly ArchivedColumn[]): SchemaElement[] {
  return [
    { name: 'rows', num_children: columns.length },
    ...columns.flatMap(({ name, encoding, list }): SchemaElement[] => {
      const { type, annotation } = layouts[encoding]
      if (!list) return [{ name, type, repetition_type: 'OPTIONAL', ...annotation }]
      return [
        {
          name,
          repetition_type: 'OPTIONAL',
          num_children: 1,
          converted_type: 'LIST',
          logical_type: { type: 'LIST' },
        },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', type, repetition_type: 'OPTIONAL', ...annotation },
      ]
    }),
  ]
}

export const pathOf = ({ name, list }: ArchivedColumn): string[] => (list ? [name, 'list', 'element'] : [name])
