import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readOnly, type Store } from '../src/index.js'
import { all, collect, MiB, noise, piecesOf, read } from './bodies.js'

export interface StoreUnderTest {
  readonly store: Store
  /** Uploads that are neither finished nor aborted. */
  unfinished(): Promise<number>
  close(): Promise<void>
}

/** What a service may lack, and the store then has to be honest about. */
export interface Lacks {
  readonly conditions?: boolean
  readonly orderOfLists?: boolean
}

/** What every store promises, whatever it stores in. */
export function describeStoreContract(name: string, open: () => Promise<StoreUnderTest>, lacks: Lacks = {}): void {
  describe(`the contract of stores: ${name}`, () => {
    let it_: StoreUnderTest
    let store: Store
    beforeEach(async () => {
      it_ = await open()
      store = it_.store
    })
    afterEach(() => it_.close())

    const text = (value: string) => Buffer.from(value)
    const rejection = async (promise: Promise<unknown>): Promise<unknown> => {
      try {
        await promise
      } catch (error) {
        return error
      }
      throw new Error('it did not fail')
    }
    const put = (name: string, value = name) => store.put(name, text(value))

    describe('reading and writing', () => {
      it('gives back what was put, and says the same of it in put, head and list', async () => {
        const written = await store.put('data/public.battles/month=2020-01/a+b_c-1.parquet', text('content'))
        expect(written).toMatchObject({ name: 'data/public.battles/month=2020-01/a+b_c-1.parquet', sizeBytes: 7 })
        expect(written.etag).not.toBe('')
        expect(Math.abs(Date.now() - written.modifiedAt.getTime())).toBeLessThan(60_000)
        const found = await store.head(written.name)
        expect(found).toMatchObject({ name: written.name, sizeBytes: 7, etag: written.etag })
        expect(await all(store.list(''))).toMatchObject([{ name: written.name, sizeBytes: 7, etag: written.etag }])
        expect((await read(store, written.name)).toString()).toBe('content')
      })

      it.each([
        ['no bytes', 0, 1000],
        ['one byte', 1, 1000],
        ['one request, full', 8 * MiB, 100_003],
        ['one byte more than one request', 8 * MiB + 1, 100_003],
        ['several parts, the last one full', 16 * MiB, 4 * MiB],
        ['several parts, in chunks larger than one', 20 * MiB + 17, 12 * MiB],
      ])('stores %s, as a whole and in pieces', async (_case, size, piece) => {
        const body = noise(size)
        expect(await store.put('whole', body)).toMatchObject({ sizeBytes: size })
        expect(await store.put('pieces', piecesOf(body, piece))).toMatchObject({ sizeBytes: size })
        expect((await read(store, 'whole')).equals(body)).toBe(true)
        expect((await read(store, 'pieces')).equals(body)).toBe(true)
        expect(await it_.unfinished()).toBe(0)
      })

      it('gives back what was put, whatever the bytes and pieces', async () => {
        const property = fc.asyncProperty(
          fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
          async (chunks) => {
            await store.put(
              'arbitrary',
              (async function* () {
                yield* chunks
              })(),
            )
            expect(await read(store, 'arbitrary')).toEqual(Buffer.concat(chunks))
          },
        )
        await fc.assert(property, { numRuns: 30 })
      })

      it('replaces an object, which then has another etag', async () => {
        const first = await put('name', 'first')
        const second = await put('name', 'other')
        expect(second.etag).not.toBe(first.etag)
        expect((await read(store, 'name')).toString()).toBe('other')
        expect((await store.head('name'))?.etag).toBe(second.etag)
      })

      it('knows nothing of what is not there', async () => {
        expect(await store.head('absent')).toBeUndefined()
        expect(await store.head('absent/deeper')).toBeUndefined()
        expect(await rejection(read(store, 'absent'))).toMatchObject({ name: 'StoreError', code: 'store-not-found' })
        expect(await all(store.list(''))).toEqual([])
        await put('folder/object')
        expect(await store.head('folder')).toBeUndefined()
        expect(await rejection(read(store, 'folder'))).toMatchObject({ code: 'store-not-found' })
      })

      it('deletes, and deletes what is not there', async () => {
        await put('a/b')
        await store.delete('a/b')
        expect(await store.head('a/b')).toBeUndefined()
        expect(await all(store.list(''))).toEqual([])
        await store.delete('a/b')
        await store.delete('x/y/z')
        await put('a/b', 'again')
        expect((await read(store, 'a/b')).toString()).toBe('again')
      })

      it('gives ranges of bytes', async () => {
        await put('digits', '0123456789')
        const range = async (first: number, last: number) =>
          (await collect(store.get('digits', { range: { first, last } }))).toString()
        expect(await range(0, 0)).toBe('0')
        expect(await range(3, 5)).toBe('345')
        expect(await range(9, 9)).toBe('9')
        expect(await range(8, 1000)).toBe('89')
        expect(await rejection(range(10, 11))).toMatchObject({ code: 'store-failed' })
        expect(await rejection(range(5, 4))).toMatchObject({ code: 'store-failed' })
        expect(await rejection(range(-1, 4))).toMatchObject({ code: 'store-failed' })
        expect(await rejection(range(0.5, 4))).toMatchObject({ code: 'store-failed' })
        const large = noise(9 * MiB)
        await store.put('large', large)
        const middle = await collect(store.get('large', { range: { first: 8 * MiB - 3, last: 8 * MiB + 2 } }))
        expect(middle.equals(large.subarray(8 * MiB - 3, 8 * MiB + 3))).toBe(true)
      })

      it('may be left in the middle of an object, again and again', async () => {
        await store.put('large', noise(4 * MiB))
        for (let round = 0; round < 60; round++) {
          for await (const chunk of store.get('large')) {
            expect(chunk.byteLength).toBeGreaterThan(0)
            break
          }
        }
        expect(await store.head('large')).toMatchObject({ sizeBytes: 4 * MiB })
      })
    })

    describe('lists', () => {
      const names = [
        'a+b',
        'a-b',
        'a.b',
        'a/b',
        'a/b-c',
        'a/c/d',
        'a/c.d',
        'a0',
        'a=b',
        'aA',
        'a_b',
        'ab',
        'b/a',
        'm=1/x/y',
      ]

      if (lacks.orderOfLists === true) {
        it('says so when the service has another order', async () => {
          for (const name of ['a_b', 'a-b']) await put(name)
          expect(await rejection(all(store.list('')))).toMatchObject({ code: 'store-failed' })
        })
      } else {
        it('in the order of names, whatever is a folder', async () => {
          for (const name of [...names].reverse()) await put(name)
          expect((await all(store.list(''))).map(({ name }) => name)).toEqual([...names].sort())
        })
      }

      it.each(['a', 'a/', 'a/c', 'a/c/', 'a/c/d', 'a/b', 'm=', 'm=1/x', 'c', 'a/c/d/e', 'b/a'])(
        'by the beginning of names: %s',
        async (prefix) => {
          for (const name of names) if (lacks.orderOfLists !== true || !/^a[^/]/.test(name)) await put(name)
          const expected = names
            .filter((name) => name.startsWith(prefix) && (lacks.orderOfLists !== true || !/^a[^/]/.test(name)))
            .sort()
          expect((await all(store.list(prefix))).map(({ name }) => name)).toEqual(expected)
        },
      )

      it('more than one page', async () => {
        const many = Array.from({ length: 25 }, (_, index) => `many/${String(index).padStart(3, '0')}`)
        for (const name of many) await put(name, 'x')
        expect((await all(store.list('many/'))).map(({ name }) => name)).toEqual(many)
      })
    })

    describe('names', () => {
      const refused = [
        '',
        '/',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        '../a',
        'a/../b',
        './a',
        'a/.',
        '.hidden',
        'a/.uploads',
        'with space',
        'a\\b',
        'ä',
        'a%2e',
        'a\0b',
        'a\n',
        'a?b',
        'a#b',
        'a:b',
        'a*b',
        'a~b',
        'x'.repeat(256),
        `${'x/'.repeat(600)}x`,
      ]

      it('refuses names that could lead elsewhere, or that not every store has', async () => {
        const error = { name: 'StoreError', code: 'store-invalid-name' }
        for (const name of refused) {
          expect(await rejection(store.put(name, text('x'))), name).toMatchObject(error)
          expect(await rejection(store.head(name)), name).toMatchObject(error)
          expect(await rejection(collect(store.get(name))), name).toMatchObject(error)
          expect(await rejection(store.delete(name)), name).toMatchObject(error)
        }
        expect(await all(store.list(''))).toEqual([])
      })

      it('refuses prefixes that no name begins with', async () => {
        const error = { name: 'StoreError', code: 'store-invalid-name' }
        for (const prefix of ['/', '/a', 'a//', '..', '../', 'a/../b', '.uploads/', 'a b', 'ä']) {
          expect(await rejection((async () => all(store.list(prefix)))()), prefix).toMatchObject(error)
          expect(await rejection(store.abortUnfinishedUploads(prefix, new Date())), prefix).toMatchObject(error)
        }
      })

      it('takes every other name', async () => {
        const first = fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '_', '=', '+', '-')
        const rest = fc.string({
          unit: fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '_', '=', '+', '-', '.'),
          maxLength: 12,
        })
        const part = fc.tuple(first, rest).map((each) => each.join(''))
        const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
        let run = 0
        const property = fc.asyncProperty(name, async (drawn) => {
          // Names drawn before must not be folders of this one.
          const unique = `run${run++}/${drawn}`
          await put(unique)
          expect((await read(store, unique)).toString()).toBe(unique)
          expect(await all(store.list(unique))).toMatchObject([{ name: unique }])
          await store.delete(unique)
          expect(await store.head(unique)).toBeUndefined()
        })
        await fc.assert(property, { numRuns: 40 })
      })

      it('refuses every name with another character', async () => {
        const name = fc
          .string({ unit: 'binary', minLength: 1, maxLength: 20 })
          .filter((drawn) => /[^A-Za-z0-9._=+/-]/.test(drawn))
        const property = fc.asyncProperty(name, async (drawn) => {
          expect(await rejection(store.put(drawn, text('x')))).toMatchObject({ code: 'store-invalid-name' })
        })
        await fc.assert(property, { numRuns: 200 })
      })

      it('takes long parts', async () => {
        const name = `${'x'.repeat(255)}/${'y'.repeat(255)}/z`
        await put(name, 'long')
        expect((await read(store, name)).toString()).toBe('long')
      })
    })

    describe('conditions', () => {
      it('writes only what is absent', async () => {
        await store.put('once', text('first'), { ifAbsent: true })
        const error = await rejection(store.put('once', text('second'), { ifAbsent: true }))
        expect(error).toMatchObject({ name: 'StoreError', code: 'store-conflict' })
        expect((await read(store, 'once')).toString()).toBe('first')
        await store.delete('once')
        await store.put('once', text('third'), { ifAbsent: true })
        expect((await read(store, 'once')).toString()).toBe('third')
      })

      it('writes only what was not changed', async () => {
        const first = await put('owner.json', 'first')
        const second = await store.put('owner.json', text('second'), { ifMatch: first.etag })
        expect(await rejection(store.put('owner.json', text('third'), { ifMatch: first.etag }))).toMatchObject({
          code: 'store-conflict',
        })
        expect((await read(store, 'owner.json')).toString()).toBe('second')
        const listed = (await all(store.list('owner.json')))[0]!
        expect(listed.etag).toBe(second.etag)
        await store.put('owner.json', text('fourth'), { ifMatch: listed.etag })
        expect((await read(store, 'owner.json')).toString()).toBe('fourth')
      })

      it('does not make what should have been changed', async () => {
        const { etag } = await put('gone')
        await store.delete('gone')
        expect(await rejection(store.put('gone', text('x'), { ifMatch: etag }))).toMatchObject({
          code: 'store-conflict',
        })
        expect(await store.head('gone')).toBeUndefined()
      })

      it('holds for large objects', async () => {
        const body = noise(9 * MiB)
        const first = await store.put('large', piecesOf(body, MiB), { ifAbsent: true })
        expect(await rejection(store.put('large', piecesOf(noise(9 * MiB), MiB), { ifAbsent: true }))).toMatchObject({
          code: 'store-conflict',
        })
        expect((await read(store, 'large')).equals(body)).toBe(true)
        const other = noise(10 * MiB)
        await store.put('large', piecesOf(other, MiB), { ifMatch: first.etag })
        expect(await rejection(store.put('large', piecesOf(body, MiB), { ifMatch: first.etag }))).toMatchObject({
          code: 'store-conflict',
        })
        expect((await read(store, 'large')).equals(other)).toBe(true)
        expect(await it_.unfinished()).toBe(0)
      })

      it('tells whether the store decides', () => {
        expect(store.conditionalWrites).toBe(lacks.conditions !== true)
      })

      if (lacks.conditions === true) return

      it('lets one of many win', async () => {
        const race = async (round: string, options: { ifAbsent?: boolean; ifMatch?: string }) => {
          const results = await Promise.allSettled(
            Array.from({ length: 12 }, (_, index) => store.put('race', text(`${round}: writer ${index}`), options)),
          )
          const winners = results.flatMap((result, index) =>
            result.status === 'fulfilled' ? [{ index, ...result.value }] : [],
          )
          for (const result of results) {
            if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'store-conflict' })
          }
          expect(winners).toHaveLength(1)
          expect((await read(store, 'race')).toString()).toBe(`${round}: writer ${winners[0]!.index}`)
          return winners[0]!.etag
        }
        const etag = await race('absent', { ifAbsent: true })
        await race('match', { ifMatch: etag })
      })
    })

    describe('what goes wrong', () => {
      it('passes on what a body throws, and leaves nothing behind', async () => {
        const failure = Object.assign(new Error('the encoder failed'), { code: 'ENOENT', syscall: 'open' })
        for (const size of [0, 3, 9 * MiB]) {
          const body = (async function* () {
            if (size > 0) yield noise(size)
            throw failure
          })()
          expect(await rejection(store.put('broken', body))).toBe(failure)
        }
        expect(await store.head('broken')).toBeUndefined()
        expect(await all(store.list(''))).toEqual([])
        expect(await it_.unfinished()).toBe(0)
      })

      it('keeps the object that was to be replaced when a body fails', async () => {
        await put('kept', 'old')
        const body = (async function* () {
          yield text('new, but not all of it')
          throw new Error('the encoder failed')
        })()
        await rejection(store.put('kept', body))
        expect((await read(store, 'kept')).toString()).toBe('old')
      })

      it('does nothing when aborted before', async () => {
        await put('there')
        const reason = new Error('out of time')
        const signal = AbortSignal.abort(reason)
        expect(await rejection(store.put('new', text('x'), { signal }))).toBe(reason)
        expect(await rejection(store.put('new', text('x'), { signal, ifAbsent: true }))).toBe(reason)
        expect(await rejection(store.head('there', { signal }))).toBe(reason)
        expect(await rejection(collect(store.get('there', { signal })))).toBe(reason)
        expect(await rejection(all(store.list('', { signal })))).toBe(reason)
        expect(await rejection(store.delete('there', { signal }))).toBe(reason)
        expect(await rejection(store.abortUnfinishedUploads('', new Date(), { signal }))).toBe(reason)
        expect((await all(store.list(''))).map(({ name }) => name)).toEqual(['there'])
      })

      it('stops a write that is aborted in its middle, and closes its body', async () => {
        const controller = new AbortController()
        const reason = new Error('out of time')
        let closed = false
        const body = (async function* () {
          try {
            for (let count = 0; ; count++) {
              if (count === 10) controller.abort(reason)
              yield noise(MiB)
            }
          } finally {
            closed = true
          }
        })()
        expect(await rejection(store.put('endless', body, { signal: controller.signal }))).toBe(reason)
        expect(closed).toBe(true)
        expect(await store.head('endless')).toBeUndefined()
        expect(await it_.unfinished()).toBe(0)
      })

      it('stops a read that is aborted in its middle', async () => {
        await store.put('large', noise(4 * MiB))
        const controller = new AbortController()
        const reason = new Error('out of time')
        const reading = (async () => {
          for await (const chunk of store.get('large', { signal: controller.signal })) {
            expect(chunk.byteLength).toBeGreaterThan(0)
            controller.abort(reason)
          }
        })()
        expect(await rejection(reading)).toBe(reason)
      })
    })

    it('has a view that cannot write', async () => {
      await put('name', 'value')
      const view = readOnly(store)
      expect(Object.keys(view).sort()).toEqual([
        'conditionalWrites',
        'countUnfinishedUploads',
        'get',
        'head',
        'list',
        'location',
      ])
      expect(Object.getPrototypeOf(view)).toBe(Object.prototype)
      expect((await read(view, 'name')).toString()).toBe('value')
      expect(await view.head('name')).toMatchObject({ sizeBytes: 5 })
      expect(await all(view.list('na'))).toHaveLength(1)
    })
  })
}
