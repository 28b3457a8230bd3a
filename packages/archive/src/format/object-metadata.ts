/** What an object says of itself: key-value metadata in the footer of its file. */
import type { ArchivedColumn } from './types.js'
import { z } from 'zod'

/** Raised when a reader of older files has to do something else with newer ones. */
const formatVersion = 1
export const metadataKey = 'battlescope.archive'

const columnSchema = z.object({
  name: z.string(),
  typeName: z.string(),
  encoding: z.enum([
    'boolean',
    'int16',
    'int32',
    'int64',
    'float32',
    'float64',
    'date',
    'timestamp',
    'timestamptz',
    'uuid',
    'json',
    'bytes',
    'text',
  ]),
  list: z.boolean(),
  notNull: z.boolean(),
  generated: z.boolean(),
})
const schema = z.object({
  formatVersion: z.literal(formatVersion),
  columns: z.array(columnSchema),
  checksums: z.array(z.string()),
})

export interface ObjectMetadata {
  readonly columns: readonly ArchivedColumn[]
  readonly checksums: Readonly<Record<string, string>>
}

/** @throws when the text is no such metadata */
export function parseObjectMetadata(text: string): ObjectMetadata {
  const { columns, checksums } = schema.parse(JSON.parse(text))
  if (columns.length !== checksums.length) throw new Error('not one checksum per column')
  return { columns, checksums: namedChecksums(columns, checksums) }
}

export function formatObjectMetadata(columns: readonly ArchivedColumn[], checksums: readonly string[]): string {
  const archived = columns.map(({ name, typeName, encoding, list, notNull, generated }) => ({
    name,
    typeName,
    encoding,
    list,
    notNull,
    generated,
  }))
  return JSON.stringify({ formatVersion, columns: archived, checksums })
}

/** By `fromEntries`, which also takes a column called `__proto__`. */
export const namedChecksums = (
  columns: readonly ArchivedColumn[],
  checksums: readonly string[],
): Readonly<Record<string, string>> =>
  Object.fromEntries(columns.map(({ name }, index) => [name, checksums[index] ?? '']))
