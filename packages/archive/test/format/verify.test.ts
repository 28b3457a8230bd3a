import { beforeAll, describe, expect, it } from 'vitest'
import { createHash } from 'node:crypto'
import { decodeRows, encodeObjects, verifyObject, type EncodedObject } from '../../src/index.js'
import { collect, expectedOf } from './archived-table.js'
import { array, chunked, copyBytes, int32, int64, text } from './copy-bytes.js'
import { planned } from './planned.js'

const columns = [
  planned('id', 'int64', 'bigint'),
  planned('name', 'text', 'text'),
  planned('ids', 'int64', 'bigint[]', true),
  planned('at', 'timestamptz', 'timestamp with time zone'),
  planned('kind', 'text', 'text'),
  planned('days', 'date', 'date'),
]

async function encode(rowCount: number, from = 0): Promise<EncodedObject> {
  const rows = Array.from({ length: rowCount }, (_, index) => [
    int64(BigInt(index + from)),
    index % 7 === 0 ? null : text(`a name ${index}`),
    array([int64(BigInt(index)), null]),
    int64(BigInt(index) * 1_000_003n),
    text(['one', 'two', 'three'][index % 3] ?? ''),
    int32(index),
  ])
  const source = chunked(copyBytes(rows), [65_536])
  const [object] = await collect(encodeObjects({ columns, guardCount: 0, source, rowGroupBytes: 4_000, codec: 'GZIP' }))
  return object!
}

describe('verifyObject', () => {
  let object: EncodedObject
  beforeAll(async () => {
    object = await encode(200)
  })

  it('says what it found, from the file alone or against what is known', async () => {
    const expected = expectedOf(object, { columns })
    const found = await verifyObject(object.bytes)
    const { columns: foundColumns, ...others } = found
    expect(others).toEqual({
      rowCount: 200,
      sizeBytes: object.bytes.length,
      sha256: object.sha256,
      checksums: object.checksums,
    })
    expect(foundColumns.map(({ name, encoding }) => [name, encoding])).toEqual(
      columns.map(({ name, encoding }) => [name, encoding]),
    )
    expect(await verifyObject(object.bytes, expected)).toEqual(found)
  })

  it('finds every flipped bit and every truncation', async () => {
    const expected = expectedOf(object, { columns })
    for (let at = 0; at < object.bytes.length; at++) {
      const damaged = Uint8Array.from(object.bytes)
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8))
      await expect(verifyObject(damaged, expected)).rejects.toMatchObject({ code: 'archive-mismatch' })
    }
    for (let length = 0; length < object.bytes.length; length += 11)
      await expect(verifyObject(object.bytes.subarray(0, length), expected)).rejects.toMatchObject({
        code: 'archive-mismatch',
      })
  })

  /** As if the hash had been taken of the damaged file: content and footer must tell. */
  it('finds damage to content without the hash of the file, and never crashes or hangs over it', async () => {
    const small = await encode(40)
    const expected = expectedOf(small, { columns })
    const baseline = await collect(decodeRows(small.bytes))
    let missed = 0
    for (let at = 0; at < small.bytes.length; at++) {
      const damaged = Uint8Array.from(small.bytes)
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8))
      const sha256 = createHash('sha256').update(damaged).digest('hex')
      try {
        await verifyObject(damaged, { ...expected, sha256 })
      } catch (error) {
        expect(error).toMatchObject({ code: 'archive-mismatch' })
        continue
      }
      // What passes is in parts that say nothing about rows: offsets, statistics, the name of the writer. The rows are the same.
      missed++
      expect(await collect(decodeRows(damaged))).toEqual(baseline)
    }
    expect(missed).toBeLessThan(small.bytes.length / 4)
  })

  it('finds that it is another object, whole as it may be', async () => {
    const other = await encode(200, 1)
    const expected = expectedOf(object, { columns })
    await expect(verifyObject(other.bytes, expected)).rejects.toThrow(
      /^the archive object does not match: (size|sha256)/,
    )
    const same = { ...expectedOf(other, { columns }), checksums: object.checksums }
    await expect(verifyObject(other.bytes, same)).rejects.toThrow("values of column 'id': manifest says")
  })

  it.each([
    ['size', { sizeBytes: 1 }, 'size: expected 1 bytes'],
    ['sha256', { sha256: 'abc' }, 'sha256: expected abc'],
    ['rows', { rowCount: 199 }, 'rows: expected 199, found 200'],
    ['columns', { columns: columns.slice(1) }, 'columns: expected'],
    ['a type', { columns: columns.map((column) => ({ ...column, typeName: 'integer' })) }, 'columns: expected'],
    ['a checksum', { checksums: {} }, "values of column 'id': manifest says nothing"],
  ])('compares %s', async (_what, difference, message) => {
    const expected = { ...expectedOf(object, { columns }), ...difference }
    await expect(verifyObject(object.bytes, expected)).rejects.toThrow(message)
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['text', Buffer.from('not a Parquet file at all')],
    ['an empty footer', Buffer.from('PAR1\u0000\u0000\u0000\u0000PAR1')],
  ])('refuses %s', async (_what, bytes) => {
    await expect(verifyObject(bytes)).rejects.toMatchObject({ code: 'archive-mismatch' })
    await expect(collect(decodeRows(bytes))).rejects.toMatchObject({ code: 'archive-mismatch' })
  })

  it('decodes only the columns that are asked for', async () => {
    const groups = await collect(decodeRows(object.bytes, ['kind', 'id']))
    expect(groups.length).toBeGreaterThan(1)
    expect(Object.keys(groups[0]?.values ?? {})).toEqual(['kind', 'id'])
    await expect(collect(decodeRows(object.bytes, ['nothing']))).rejects.toThrow("no column 'nothing'")
  })
})
