import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { coldStorageConfig, openStore, StoreError, type Store } from '../src/index.js'
import { faultyStore, type Failure, type Fault } from '../src/testing.js'
import { all, collect, read } from './bodies.js'
import { temporaryFolder, uploadsIn } from './open-stores.js'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let store: Store
beforeEach(async () => {
  folder = await temporaryFolder()
  store = await openStore(coldStorageConfig.parse({ url: folder.url }))
})
afterEach(() => folder.remove())

const text = (value: string) => Buffer.from(value)
const unavailable = { name: 'StoreError', code: 'store-unavailable' }
const put = (failure: Failure, more: Partial<Fault> = {}) => faultyStore(store, [{ method: 'put', failure, ...more }])
const get = (failure: Failure, more: Partial<Fault> = {}) => faultyStore(store, [{ method: 'get', failure, ...more }])

async function* pieces(...all: string[]): AsyncIterable<Uint8Array> {
  for (const piece of all) yield text(piece)
}

describe('a fault', () => {
  it('comes true at the call it is planned for, counted among those that fit', async () => {
    const third: Fault = { method: 'put', call: 3, failure: 'error' }
    const named: Fault = { method: 'put', call: 2, name: /^manifests\//, failure: 'timeout' }
    const never: Fault = { method: 'delete', call: 5, failure: 'error' }
    const faulty = faultyStore(store, [third, named, never])
    await faulty.put('data/1', text('x'))
    await faulty.put('manifests/1', text('x'))
    await expect(faulty.put('data/2', text('x'))).rejects.toMatchObject(unavailable)
    await faulty.put('data/2', text('x'))
    await expect(faulty.put('manifests/2', text('x'))).rejects.toMatchObject(unavailable)
    await faulty.delete('data/1')
    expect(faulty.unused()).toEqual([never])
    expect(faulty.calls.map(({ method, name, fault }) => `${method} ${name} ${fault?.failure ?? 'ok'}`)).toEqual([
      'put data/1 ok',
      'put manifests/1 ok',
      'put data/2 error',
      'put data/2 ok',
      'put manifests/2 timeout',
      'delete data/1 ok',
    ])
    expect((await all(store.list(''))).map(({ name }) => name)).toEqual(['data/2', 'manifests/1'])
  })

  it('has the error of the plan', async () => {
    const error = new StoreError('store-denied', 'no')
    await expect(put('error', { error }).put('name', text('x'))).rejects.toBe(error)
  })

  it('of a call that answers: without and with effect', async () => {
    await store.put('name', text('x'))
    const before = faultyStore(store, [
      { method: 'head', failure: 'timeout' },
      { method: 'delete', failure: 'error' },
      { method: 'abortUnfinishedUploads', failure: 'error' },
      { method: 'list', failure: 'error' },
      { method: 'get', failure: 'timeout' },
    ])
    await expect(before.head('name')).rejects.toMatchObject(unavailable)
    await expect(before.delete('name')).rejects.toMatchObject(unavailable)
    await expect(before.abortUnfinishedUploads('', new Date())).rejects.toMatchObject(unavailable)
    await expect(all(before.list(''))).rejects.toMatchObject(unavailable)
    await expect(read(before, 'name')).rejects.toMatchObject(unavailable)
    expect(before.unused()).toEqual([])
    const after = faultyStore(store, [{ method: 'delete', failure: 'after-effect' }])
    await expect(after.delete('name')).rejects.toMatchObject(unavailable)
    expect(await store.head('name')).toBeUndefined()
  })

  it('of a write', async () => {
    await expect(put('timeout').put('timeout', text('x'))).rejects.toMatchObject(unavailable)
    await expect(put('broken-off').put('broken', pieces('ab', 'cd'))).rejects.toMatchObject(unavailable)
    expect(await all(store.list(''))).toEqual([])
    expect(await uploadsIn(folder.path)).toEqual([])

    await expect(put('after-effect').put('after', text('whole'))).rejects.toMatchObject(unavailable)
    expect((await read(store, 'after')).toString()).toBe('whole')
    expect(await put('truncated').put('short', pieces('ab', '', 'cd', ''))).toMatchObject({ sizeBytes: 3 })
    expect((await read(store, 'short')).toString()).toBe('abc')
    await put('corrupted', { at: 2 }).put('flipped', pieces('ab', 'cd'))
    expect((await read(store, 'flipped')).toString()).toBe('abbd')
    await put('corrupted', { at: 99 }).put('flipped', text('abcd'))
    expect((await read(store, 'flipped')).toString()).toBe('abce')
    const body = text('abcd')
    await put('corrupted').put('flipped', body)
    expect((await read(store, 'flipped')).toString()).toBe('`bcd')
    expect(body.toString()).toBe('abcd')
    await put('after-effect')
      .put('once', text('x'), { ifAbsent: true })
      .catch(() => undefined)
    await expect(store.put('once', text('y'), { ifAbsent: true })).rejects.toMatchObject({ code: 'store-conflict' })
  })

  it('of a read', async () => {
    await store.put('name', text('abcdef'))
    expect((await read(get('truncated'), 'name')).toString()).toBe('abcde')
    expect((await read(get('corrupted', { at: 1 }), 'name')).toString()).toBe('accdef')
    const chunks: string[] = []
    const reading = (async () => {
      for await (const chunk of get('broken-off').get('name')) chunks.push(Buffer.from(chunk).toString())
    })()
    await expect(reading).rejects.toMatchObject(unavailable)
    expect(chunks).toEqual(['abc'])
    await expect(read(get('after-effect'), 'name')).rejects.toMatchObject(unavailable)
    expect((await collect(get('truncated', { call: 2 }).get('name'))).toString()).toBe('abcdef')
    const listing = faultyStore(store, [{ method: 'list', failure: 'broken-off' }])
    const names: string[] = []
    await expect(
      (async () => {
        for await (const { name } of listing.list('')) names.push(name)
      })(),
    ).rejects.toMatchObject(unavailable)
    expect(names).toEqual(['name'])
  })
})
