import fc from 'fast-check'
import { parquetReadObjects } from 'hyparquet'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import {
  decodeRows,
  encodeObjects,
  openObject,
  verifyObject,
  type EncodedObject,
  type EncodeOptions,
  type PlannedColumn,
} from '../../src/index.js'
import { collect, expectedOf } from './archived-table.js'
import { array, chunked, copyBytes, float64, int16, int32, int64, jsonb, text } from './copy-bytes.js'
import { planned } from './planned.js'

const columns = [
  planned('id', 'int64', 'bigint'),
  planned('small', 'int16', 'smallint'),
  planned('name', 'text', 'text'),
  planned('ids', 'int64', 'bigint[]', true),
  planned('words', 'text', 'text[]', true),
  planned('price', 'float64', 'double precision'),
  planned('flag', 'boolean', 'boolean'),
  planned('payload', 'json', 'jsonb'),
  planned('raw', 'bytes', 'bytea'),
]

const unicode = fc.string({ unit: 'grapheme', maxLength: 60 }).map((value) => value.replaceAll('\0', ''))
const word = fc.oneof(unicode, fc.constantFrom('', 'NULL', '"', '\\', '{}', ',', ' '))
const big = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const nullable = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null })
const row = fc.record({
  id: nullable(fc.oneof(big, fc.bigInt({ min: 0n, max: 50n }))),
  small: nullable(fc.integer({ min: -32_768, max: 32_767 })),
  name: nullable(word),
  ids: nullable(fc.array(nullable(big), { maxLength: 5 })),
  words: nullable(fc.array(nullable(word), { maxLength: 5 })),
  price: nullable(fc.double({ noNaN: true })),
  flag: nullable(fc.boolean()),
  payload: nullable(fc.json()),
  raw: nullable(fc.uint8Array({ maxLength: 80 })),
})
type Row = typeof row extends fc.Arbitrary<infer R> ? R : never

const map = <T, R>(value: T | null, convert: (value: T) => R): R | null => (value === null ? null : convert(value))

const wire = (value: Row): (Uint8Array | null)[] => [
  map(value.id, int64),
  map(value.small, int16),
  map(value.name, text),
  map(value.ids, (ids) => array(ids.map((id) => map(id, int64)))),
  map(value.words, (words) => array(words.map((one) => map(one, text)))),
  map(value.price, float64),
  map(value.flag, (flag) => Uint8Array.of(flag ? 1 : 0)),
  map(value.payload, jsonb),
  value.raw,
]

/** What PostgreSQL would be given. */
const input = (value: Row): (string | null)[] => [
  map(value.id, String),
  map(value.small, String),
  value.name,
  map(value.ids, (ids) => `{${ids.map((id) => (id === null ? 'NULL' : String(id))).join(',')}}`),
  map(
    value.words,
    (words) => `{${words.map((one) => map(one, (w) => `"${w.replace(/["\\]/g, '\\$&')}"`) ?? 'NULL').join(',')}}`,
  ),
  map(value.price, (price) => (Object.is(price, -0) ? '-0' : String(price))),
  map(value.flag, (flag) => (flag ? 't' : 'f')),
  value.payload,
  map(value.raw, (raw) => `\\x${Buffer.from(raw).toString('hex')}`),
]

const guarded = (rows: readonly (readonly (Uint8Array | null)[])[]): Buffer =>
  copyBytes(rows.map((fields, index) => [text(`key ${index}`), text(String(index % 3)), ...fields]))

async function encode(
  bytes: Uint8Array,
  options: Partial<EncodeOptions> & { readonly sizes?: readonly number[]; readonly columns: readonly PlannedColumn[] },
): Promise<EncodedObject[]> {
  const { sizes = [65_536], ...others } = options
  return collect(encodeObjects({ guardCount: 2, source: chunked(bytes, sizes), ...others }))
}

async function decode(objects: readonly EncodedObject[]): Promise<(string | null)[][]> {
  const rows: (string | null)[][] = []
  for (const { bytes } of objects)
    for await (const { rowCount, values } of decodeRows(bytes))
      for (let index = 0; index < rowCount; index++)
        rows.push(Object.values(values).map((texts) => texts[index] ?? null))
  return rows
}

/** The same file through a reader that is not ours. */
const readElsewhere = (bytes: Uint8Array): Promise<Record<string, unknown>[]> =>
  parquetReadObjects({
    file: { byteLength: bytes.length, slice: (from, to) => Uint8Array.from(bytes.subarray(from, to)).buffer },
    compressors: { GZIP: (part) => gunzipSync(part) },
    utf8: false,
  })

describe('encodeObjects', () => {
  it('gives every value back, however the bytes are cut and the rows are grouped', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 4_000 }),
        fc.integer({ min: 1, max: 20_000 }),
        async (rows, sizes, rowGroupBytes, maxObjectBytes) => {
          const bytes = guarded(rows.map(wire))
          const objects = await encode(bytes, { columns, sizes, rowGroupBytes, maxObjectBytes })
          expect(await decode(objects)).toEqual(rows.map(input))
          expect(objects.flatMap(({ guards }) => [...(guards[0] ?? [])])).toEqual(
            rows.map((_, index) => `key ${index}`),
          )
          expect(objects.flatMap(({ guards }) => [...(guards[1] ?? [])])).toEqual(
            rows.map((_, index) => String(index % 3)),
          )
          for (const object of objects) await verifyObject(object.bytes, expectedOf(object, { columns }))
        },
      ),
      { numRuns: 150 },
    )
  })

  it('writes files that another reader understands', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 60 }), async (rows) => {
        const objects = await encode(guarded(rows.map(wire)), { columns, codec: 'GZIP', rowGroupBytes: 3_000 })
        const read = (await Promise.all(objects.map(({ bytes }) => readElsewhere(bytes)))).flat()
        const comparable = rows.map(({ raw, payload, price, ...others }) => ({
          ...others,
          price: price === null ? null : price + 0,
          payload: payload === null ? null : (JSON.parse(payload) as unknown),
          raw: raw && Buffer.from(raw).toString('hex'),
        }))
        const found = read.map(({ raw, price, ids = null, words = null, ...others }) => ({
          ...others,
          ids,
          words,
          price: price === null ? null : (price as number) + 0,
          raw: raw && Buffer.from(raw as Uint8Array).toString('hex'),
        }))
        expect(found).toEqual(comparable)
      }),
      { numRuns: 100 },
    )
  })

  it('has the same checksums whatever the layout, and others for other values', async () => {
    const rows = Array.from({ length: 3_000 }, (_, index) => [int64(BigInt(index % 700)), text(`name ${index % 50}`)])
    const two = [planned('id', 'int64', 'bigint'), planned('name', 'text', 'text')]
    const [small] = await encode(guarded(rows), { columns: two, rowGroupBytes: 1_000 })
    const [large] = await encode(guarded(rows), { columns: two })
    expect(small?.checksums).toEqual(large?.checksums)
    expect(small?.sha256).not.toBe(large?.sha256)
    const [first = [], second = [], ...others] = rows
    const [swapped] = await encode(guarded([second, first, ...others]), { columns: two })
    expect(
      Object.keys(swapped!.checksums).filter((name) => swapped!.checksums[name] === large!.checksums[name]),
    ).toEqual([])
    const [nulls] = await encode(guarded([[first[0] ?? null, null], ...rows.slice(1)]), { columns: two })
    expect(nulls?.checksums['id']).toBe(large?.checksums['id'])
    expect(nulls?.checksums['name']).not.toBe(large?.checksums['name'])
  })

  it('tells NULL, empty and a list of NULL apart in the checksum', async () => {
    const list = [planned('ids', 'int64', 'bigint[]', true)]
    const variants = [null, array([]), array([null]), array([null, null])].map((value) => guarded([[value]]))
    const sums = await Promise.all(
      variants.map(async (bytes) => (await encode(bytes, { columns: list }))[0]?.checksums['ids']),
    )
    expect(new Set(sums).size).toBe(4)
  })

  it('gives no object for no rows', async () => {
    expect(await encode(guarded([]), { columns })).toEqual([])
  })

  it('ends an object when it is full, and never loses a row', async () => {
    const rows = Array.from({ length: 1_000 }, (_, index) => [int64(BigInt(index)), text('x'.repeat(100))])
    const two = [planned('id', 'int64', 'bigint'), planned('name', 'text', 'text')]
    const objects = await encode(guarded(rows), { columns: two, maxObjectBytes: 20_000 })
    expect(objects.length).toBeGreaterThan(5)
    expect(objects.reduce((sum, { rowCount }) => sum + rowCount, 0)).toBe(1_000)
    expect((await decode(objects)).map(([id]) => id)).toEqual(rows.map((_, index) => String(index)))
  })

  it('takes a row of fifty megabytes', async () => {
    const two = [planned('id', 'int64', 'bigint'), planned('payload', 'json', 'jsonb')]
    const long = `"${'abcdefghij'.repeat(5_000_000)}"`
    const rows = [1n, 2n, 3n].map((id) => [int64(id), jsonb(id === 2n ? long : '{}')])
    const objects = await encode(guarded(rows), { columns: two })
    expect((await decode(objects)).map(([id, payload]) => [id, payload?.length])).toEqual([
      ['1', 2],
      ['2', 50_000_002],
      ['3', 2],
    ])
    for (const object of objects) await verifyObject(object.bytes, expectedOf(object, { columns: two }))
  })

  it('keeps what the caller wants to know with the file', async () => {
    const [object] = await encode(guarded([[int64(1n)]]), {
      columns: [planned('id', 'int64', 'bigint')],
      metadata: { 'battlescope.batch': 'abc', horizon: '2021-01-01T00:00:00Z' },
    })
    const opened = openObject(object!.bytes)
    expect(opened.metadata).toMatchObject({ 'battlescope.batch': 'abc', horizon: '2021-01-01T00:00:00Z' })
    expect(opened.columns).toEqual([
      { name: 'id', typeName: 'bigint', encoding: 'int64', list: false, notNull: false, generated: false },
    ])
    expect(opened.checksums).toEqual(object!.checksums)
  })

  it('keeps columns apart whose names mean something to JavaScript', async () => {
    const odd = ['__proto__', 'constructor', 'a.b', '', 'ä'].map((name) => planned(name, 'text', 'text'))
    const rows = [odd.map((_, index) => text(`value ${index}`))]
    const [object] = await encode(guarded(rows), { columns: odd })
    expect(await decode([object!])).toEqual([odd.map((_, index) => `value ${index}`)])
    await verifyObject(object!.bytes, expectedOf(object!, { columns: odd }))
  })

  describe('refuses what an encoding cannot hold, and names the column', () => {
    const infinity = int64(2n ** 63n - 1n)
    const nested = Buffer.concat([
      int32(2),
      int32(0),
      int32(20),
      int32(1),
      int32(1),
      int32(1),
      int32(1),
      int32(8),
      int64(1n),
    ])
    const shifted = Buffer.concat([int32(1), int32(0), int32(20), int32(1), int32(0), int32(8), int64(1n)])
    it.each([
      ['an infinite timestamp', planned('v', 'timestamptz', 'timestamp with time zone'), infinity],
      ['a timestamp before all others', planned('v', 'timestamp', 'timestamp without time zone'), int64(-(2n ** 63n))],
      [
        'a timestamp beyond 64 bits',
        planned('v', 'timestamptz', 'timestamp with time zone'),
        int64(9_223_371_331_199_999_999n),
      ],
      ['an infinite date', planned('v', 'date', 'date'), int32(2 ** 31 - 1)],
      ['an array of two dimensions', planned('v', 'int64', 'bigint[]', true), nested],
      ['an array that begins elsewhere', planned('v', 'int64', 'bigint[]', true), shifted],
    ])('%s', async (_what, column, value) => {
      const encoding = encode(guarded([[null], [value]]), { columns: [column] })
      await expect(encoding).rejects.toMatchObject({ code: 'unrepresentable-value', column: 'v', asText: true })
    })

    it('text that is not UTF-8, which no other encoding helps', async () => {
      for (const bad of [Buffer.from([0xff]), Buffer.concat([Buffer.alloc(100, 97), Buffer.from([0xc3])])])
        await expect(encode(guarded([[bad]]), { columns: [planned('v', 'text', 'text')] })).rejects.toMatchObject({
          code: 'unrepresentable-value',
          column: 'v',
          asText: false,
        })
    })
  })

  describe('refuses rows of another table', () => {
    it.each([
      ['a value of another width', planned('v', 'int64', 'bigint'), int32(1)],
      ['an array that is cut', planned('v', 'int64', 'bigint[]', true), array([int64(1n)]).subarray(0, 25)],
      [
        'an array with something behind it',
        planned('v', 'int64', 'bigint[]', true),
        Buffer.concat([array([int64(1n)]), int32(0)]),
      ],
      ['no array', planned('v', 'int64', 'bigint[]', true), int32(1)],
      ['another version of jsonb', planned('v', 'json', 'jsonb'), Buffer.from('\u0002{}')],
    ])('%s', async (_what, column, value) => {
      await expect(encode(guarded([[value]]), { columns: [column] })).rejects.toMatchObject({ code: 'copy-format' })
    })

    it('a guard that is NULL', async () => {
      const bytes = copyBytes([[null, text('1'), int64(1n)]])
      await expect(encode(bytes, { columns: [planned('v', 'int64', 'bigint')] })).rejects.toMatchObject({
        code: 'copy-format',
      })
    })
  })

  it('decodes guards beyond ASCII', async () => {
    const keys = ['ä', 'x', '漢字', '']
    const bytes = copyBytes(keys.map((key) => [text(key), text('1'), int64(1n)]))
    const [object] = await encode(bytes, { columns: [planned('v', 'int64', 'bigint')] })
    expect(object?.guards.map((column) => [...column])).toEqual([keys, ['1', '1', '1', '1']])
  })

  it('passes on what the source throws, and ends the source when it is left', async () => {
    let endings = 0
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield guarded(Array.from({ length: 1_000 }, () => [int64(1n)])).subarray(0, -2)
        throw new Error('the connection is gone')
      } finally {
        endings++
      }
    }
    const one = [planned('v', 'int64', 'bigint')]
    await expect(collect(encodeObjects({ columns: one, guardCount: 2, source: source() }))).rejects.toThrow('is gone')
    for await (const object of encodeObjects({
      columns: one,
      guardCount: 2,
      source: source(),
      maxObjectBytes: 1_000,
    })) {
      expect(object.rowCount).toBeGreaterThan(0)
      break
    }
    expect(endings).toBe(2)
  })
})
