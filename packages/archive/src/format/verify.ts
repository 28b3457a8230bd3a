/** Whether an object that was read back is what was written, down to every value. */
import { createHash } from 'node:crypto'
import { ColumnChecksum } from './column-checksum.js'
import { ArchiveMismatch } from './format-error.js'
import { namedChecksums } from './object-metadata.js'
import type { ColumnValues } from './column-values.js'
import { assertSame, openObject, type OpenedObject, type OpenedRowGroup } from './object-reader.js'
import type { ArchivedColumn, ExpectedObject } from './types.js'

/** Columns that are decompressed while one is looked at. */
const readAhead = 2

/**
 * Decodes every value of an object and compares what comes out.
 * @param expected what is known from elsewhere, a manifest or the encoder. Without it the object is held against its own footer alone,
 * which finds damage but not that it is another object
 * @returns what was found
 * @throws ArchiveMismatch with what differs
 */
export async function verifyObject(bytes: Uint8Array, expected?: ExpectedObject): Promise<ExpectedObject> {
  if (expected !== undefined && bytes.length !== expected.sizeBytes)
    throw new ArchiveMismatch(`size: expected ${expected.sizeBytes} bytes, found ${bytes.length}`)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (expected !== undefined && sha256 !== expected.sha256)
    throw new ArchiveMismatch(`sha256: expected ${expected.sha256}, found ${sha256}`)

  const object = openObject(bytes)
  const { columns, rowCount } = object
  if (expected !== undefined) {
    if (rowCount !== expected.rowCount)
      throw new ArchiveMismatch(`rows: expected ${expected.rowCount}, found ${rowCount}`)
    assertSame('columns', expected.columns.map(comparableColumn), columns.map(comparableColumn))
  }

  const sums = columns.map(() => new ColumnChecksum())
  for await (const { index, levels, values } of readColumns(object)) sums[index]?.update(levels, values)
  const checksums = namedChecksums(
    columns,
    sums.map(({ text }) => text),
  )
  for (const { name } of columns) {
    const found = checksums[name]
    for (const [source, wanted] of [
      ['footer', object.checksums[name]],
      ['manifest', expected === undefined ? found : expected.checksums[name]],
    ]) {
      if (wanted !== found)
        throw new ArchiveMismatch(
          `values of column '${name}': ${source} says ${wanted ?? 'nothing'}, found ${found ?? ''}`,
        )
    }
  }
  return { rowCount, sizeBytes: bytes.length, sha256, columns, checksums }
}

/** Each column of each row group in order, the next ones decompressed meanwhile beside this thread. */
async function* readColumns({
  columns,
  rowGroups,
}: OpenedObject): AsyncGenerator<ColumnValues & { readonly index: number }> {
  const begun: Promise<ColumnValues & { readonly index: number }>[] = []
  const read = async (group: OpenedRowGroup, index: number): Promise<ColumnValues & { readonly index: number }> => ({
    ...(await group.readColumn(index)),
    index,
  })
  for (const group of rowGroups) {
    for (let index = 0; index < columns.length; index++) {
      const reading = read(group, index)
      // It may fail before anybody waits for it.
      reading.catch(() => undefined)
      begun.push(reading)
      const oldest = begun.length > readAhead ? begun.shift() : undefined
      if (oldest !== undefined) yield await oldest
    }
  }
  for (const reading of begun) yield await reading
}

/** The order of keys, and what a planned column has beside, do not count. */
const comparableColumn = ({ name, typeName, encoding, list, notNull, generated }: ArchivedColumn): unknown => [
  name,
  typeName,
  encoding,
  list,
  notNull,
  generated,
]
