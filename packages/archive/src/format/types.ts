/** What goes into an archive object, column by column, and what comes back out. */
import type { GuardColumn } from './guard-buffer.js'

/** A column as the catalog describes it. */
export interface SourceColumn {
  readonly name: string
  /** As `format_type` writes it, so that it can be used in a cast: `numeric(10,2)`, `public.security_type`, `bigint[]`. */
  readonly typeName: string
  readonly typeOid: number
  /** `pg_type.typtype`: b base, c composite, d domain, e enum, r range, m multirange, p pseudo. */
  readonly typeKind: string
  /** Of an array type that of its elements, else 0. */
  readonly elementOid: number
  /** `pg_type.typtype` of the elements; empty for what is no array. */
  readonly elementKind: string
  readonly notNull: boolean
  /** `GENERATED ALWAYS AS (…) STORED`: archived like any column, left out of restores. */
  readonly generated: boolean
}

/** How a column stands in the Parquet file. `text` is PostgreSQL's own output form: the fallback that loses nothing. */
export type ColumnEncoding =
  | 'boolean'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'float32'
  | 'float64'
  | 'date'
  | 'timestamp'
  | 'timestamptz'
  | 'uuid'
  | 'json'
  | 'bytes'
  | 'text'

export interface ArchivedColumn {
  readonly name: string
  /** The type in PostgreSQL, for casts at restore. */
  readonly typeName: string
  readonly encoding: ColumnEncoding
  /** A one-dimensional array of `encoding`: a Parquet LIST, whose elements may be NULL. */
  readonly list: boolean
  readonly notNull: boolean
  readonly generated: boolean
}

/** An archived column together with how COPY selects it. */
export interface PlannedColumn extends ArchivedColumn {
  /**
   * `value`: as it is, in its own binary form. `cast`: cast to text. `output`: through the type's output function, because a cast to
   * text of its own may say less (a domain over `character` loses trailing blanks in it).
   */
  readonly selectAs: 'value' | 'cast' | 'output'
}

export interface EncodedObject {
  /** The whole Parquet file. */
  readonly bytes: Uint8Array
  readonly rowCount: number
  /** Of `bytes`, hexadecimal. */
  readonly sha256: string
  /** Per column, over the values of all rows in order: the same for the same values, however the file is laid out. */
  readonly checksums: Readonly<Record<string, string>>
  /** The leading guard columns of each row, one per column: for keys and row versions. They are not in the file. */
  readonly guards: readonly GuardColumn[]
}

/** What is known of an object before it is read back. */
export interface ExpectedObject {
  readonly rowCount: number
  readonly sizeBytes: number
  readonly sha256: string
  readonly columns: readonly ArchivedColumn[]
  readonly checksums: Readonly<Record<string, string>>
}

/** Rows of one row group, in PostgreSQL's input text form; NULL is null. */
export interface TextRows {
  readonly rowCount: number
  /** One array per column, each with `rowCount` values. */
  readonly values: Readonly<Record<string, readonly (string | null)[]>>
}
