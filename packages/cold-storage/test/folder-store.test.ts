import { execFileSync } from 'node:child_process'
import { mkdir, readdir, readFile, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { withLock } from '../src/folder-lock.js'
import { coldStorageConfig, openStore, type ColdStorageConfig } from '../src/index.js'
import type { OpenStore } from '../src/store.js'
import { all, MiB, noise, read, sha256 } from './bodies.js'
import { temporaryFolder, uploadsIn } from './open-stores.js'
import { raceToCreate, startProcess, type StoreProcess } from './processes.js'

/** Starting a process takes a second, on a busy machine several. */
const processesMs = 240_000

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let config: ColdStorageConfig
let store: OpenStore
const processes: StoreProcess[] = []
beforeEach(async () => {
  folder = await temporaryFolder()
  config = coldStorageConfig.parse({ url: folder.url })
  store = await openStore(config)
})
afterEach(async () => {
  for (const each of processes.splice(0)) await each.kill('SIGKILL')
  await folder.remove()
})

function start(...args: Parameters<typeof startProcess>): StoreProcess {
  const started = startProcess(...args)
  processes.push(started)
  return started
}

const text = (value: string) => Buffer.from(value)

describe('opening a folder', () => {
  it('never makes it: a missing mount would go unnoticed', async () => {
    const missing = coldStorageConfig.parse({ url: `${folder.url}/missing` })
    await expect(openStore(missing)).rejects.toMatchObject({
      code: 'store-not-found',
      hint: expect.stringContaining('mount') as string,
    })
    expect(await readdir(folder.path)).toEqual([])
  })

  it('refuses a file, and an absent configuration', async () => {
    await writeFile(join(folder.path, 'file'), '')
    await expect(openStore(coldStorageConfig.parse({ url: `${folder.url}/file` }))).rejects.toMatchObject({
      code: 'store-failed',
    })
    await expect(openStore(coldStorageConfig.parse({}))).rejects.toMatchObject({ code: 'store-failed' })
  })

  it('writes nothing', async () => {
    expect(await store.head('a/b')).toBeUndefined()
    expect(await all(store.list(''))).toEqual([])
    await store.abortUnfinishedUploads('', new Date())
    await store.delete('a/b')
    expect(await readdir(folder.path)).toEqual([])
  })

  it('tells where it is', () => {
    expect(store.location).toBe(folder.url)
    expect(store.conditionalWrites).toBe(true)
  })
})

describe('what is not an object', () => {
  it('is neither listed nor read: symbolic links, pipes, foreign names', async () => {
    await writeFile(join(folder.path, 'secret'), 'secret')
    const inner = join(folder.path, 'inner')
    await mkdir(inner)
    const within = await openStore(coldStorageConfig.parse({ url: `${folder.url}/inner` }))
    await symlink('../secret', join(inner, 'link'))
    await symlink('..', join(inner, 'up'))
    await writeFile(join(inner, 'not a name'), '')
    await writeFile(join(inner, '.hidden'), '')
    execFileSync('sh', ['-c', 'mkfifo "$0"', join(inner, 'pipe')])
    expect(await all(within.list(''))).toEqual([])
    for (const name of ['link', 'pipe']) {
      expect(await within.head(name)).toBeUndefined()
      await expect(read(within, name)).rejects.toMatchObject({ code: 'store-not-found' })
    }
    // Begun one by one: a rejection that nobody awaits yet is an unhandled one.
    for (const attempt of [
      () => within.head('up/secret'),
      () => read(within, 'up/secret'),
      () => within.put('up/new', text('x')),
      () => within.delete('up/secret'),
      () => all(within.list('up/')),
    ]) {
      await expect(attempt()).rejects.toMatchObject({ code: 'store-denied' })
    }
    expect((await readdir(folder.path)).sort()).toEqual(['inner', 'secret'])
    await expect(within.put('link', text('x'), { ifAbsent: true })).rejects.toMatchObject({ code: 'store-conflict' })
    await within.put('link', text('replaced'))
    expect(await readFile(join(folder.path, 'secret'), 'utf8')).toBe('secret')
    expect((await read(within, 'link')).toString()).toBe('replaced')
  })

  it('cannot be made: an object that is a folder of others, or below another', async () => {
    await store.put('a', text('x'))
    await expect(store.put('a/b', text('x'))).rejects.toMatchObject({ code: 'store-invalid-name' })
    await store.put('c/d', text('x'))
    await expect(store.put('c', text('x'))).rejects.toMatchObject({ code: 'store-invalid-name' })
    expect((await all(store.list(''))).map(({ name }) => name)).toEqual(['a', 'c/d'])
  })
})

describe('an etag', () => {
  it('is new after every write, the same bytes and inodes included', async () => {
    const etags = new Set<string>()
    for (let count = 0; count < 200; count++) {
      if (count % 3 === 2) await store.delete('name')
      etags.add((await store.put('name', text('same'))).etag)
    }
    expect(etags.size).toBe(200)
  })
})

describe('reading', () => {
  it('notices a file that became shorter', async () => {
    await store.put('large', noise(MiB))
    const reading = (async () => {
      for await (const chunk of store.get('large')) {
        expect(chunk.byteLength).toBeGreaterThan(0)
        await truncate(join(folder.path, 'large'), 300_000)
      }
    })()
    await expect(reading).rejects.toMatchObject({ code: 'store-checksum' })
  })

  it('goes on with the object as it was opened while it is replaced', async () => {
    const old = noise(MiB)
    await store.put('name', old)
    const chunks: Uint8Array[] = []
    for await (const chunk of store.get('name')) {
      if (chunks.length === 0) await store.put('name', noise(MiB))
      chunks.push(chunk)
    }
    expect(Buffer.concat(chunks).equals(old)).toBe(true)
  })
})

describe('unfinished uploads', () => {
  it('are found by prefix and age', { timeout: processesMs }, async () => {
    const unfinished = async (name: string) => {
      const body = start('endless', { config, name })
      await body.ready
      await body.kill('SIGKILL')
    }
    await Promise.all([unfinished('data/a/1'), unfinished('data/b/1'), unfinished(`data/b/${'x'.repeat(250)}`)])
    expect(await uploadsIn(folder.path)).toHaveLength(3)
    const later = new Date(Date.now() + 1000)
    expect(await store.abortUnfinishedUploads('data/', new Date(Date.now() - 60_000))).toBe(0)
    expect(await store.countUnfinishedUploads('data/', new Date(Date.now() - 60_000))).toBe(0)
    expect(await store.countUnfinishedUploads('data/', later)).toBe(3)
    expect(await store.countUnfinishedUploads('', later)).toBe(3)
    expect(await store.abortUnfinishedUploads('data/a', later)).toBe(1)
    expect(await store.abortUnfinishedUploads('data/c', later)).toBe(0)
    expect(await store.abortUnfinishedUploads('data/b/x', later)).toBe(1)
    expect(await store.abortUnfinishedUploads('', later)).toBe(1)
    expect(await uploadsIn(folder.path)).toEqual([])
  })

  it('fail when they are aborted while they go on', async () => {
    const body = (async function* () {
      yield noise(1000)
      await store.abortUnfinishedUploads('', new Date(Date.now() + 1000))
      yield noise(1000)
    })()
    await expect(store.put('name', body)).rejects.toMatchObject({ name: 'StoreError' })
    expect(await all(store.list(''))).toEqual([])
  })
})

describe('several processes', () => {
  it('create an object: exactly one wins', { timeout: processesMs }, async () => {
    const racers = Array.from({ length: 4 }, () => start('create', { config, name: 'race', count: 50 }))
    const makers = await raceToCreate(racers, 50)
    for (const [index, pids] of makers.entries()) {
      expect(pids).toHaveLength(1)
      expect((await read(store, `race/${index}`)).toString()).toBe(`by ${String(pids[0])}`)
    }
  })

  it('count by compare and set: no increment is lost, whoever dies', { timeout: processesMs }, async () => {
    await store.put('counter', text('0'))
    // Somebody dies with the lock in hand.
    const lock = join(folder.path, '.locks', `${sha256(text('counter')).slice(0, 32)}`)
    const dead = start('hold-lock', { config, name: '', path: lock })
    await dead.ready
    await dead.kill('SIGKILL')
    const counters = Array.from({ length: 4 }, () => start('increment', { config, name: 'counter', count: 60 }))
    const conflicts = (await Promise.all(counters.map(({ result }) => result))) as number[]
    expect((await read(store, 'counter')).toString()).toBe('240')
    expect(conflicts.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(0)
    expect(await readdir(join(folder.path, '.locks'))).toEqual([])
    expect(await uploadsIn(folder.path)).toEqual([])
  })

  it('wait for one that is stopped with the lock in hand', { timeout: processesMs }, async () => {
    await store.put('name', text('first'))
    const lock = join(folder.path, '.locks', `${sha256(text('name')).slice(0, 32)}`)
    const stopped = start('hold-lock', { config, name: '', path: lock })
    await stopped.ready
    await stopped.kill('SIGSTOP')
    const controller = new AbortController()
    const reason = new Error('enough')
    const writing = store.put('name', text('second'), { signal: controller.signal })
    await sleep(300)
    expect((await read(store, 'name')).toString()).toBe('first')
    controller.abort(reason)
    await expect(writing).rejects.toBe(reason)
    await stopped.kill('SIGKILL')
    await store.put('name', text('third'))
    expect((await read(store, 'name')).toString()).toBe('third')
  })

  it('take over a lock that no machine answers for, by its age', async () => {
    const locks = join(folder.path, '.locks')
    await store.put('name', text('first'))
    const path = join(locks, sha256(text('name')).slice(0, 32))
    for (const content of [JSON.stringify({ token: 't', host: 'elsewhere', boot: '', pid: 1 }), '']) {
      await writeFile(path, content)
      const controller = new AbortController()
      const waiting = withLock(path, controller.signal, async () => 'taken')
      await sleep(100)
      controller.abort()
      await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
      const old = new Date(Date.now() - 180_000)
      await utimes(path, old, old)
      expect(await withLock(path, undefined, async () => 'taken')).toBe('taken')
      expect(await readdir(locks)).toEqual([])
    }
  })

  it(
    'killed at any instant leave nothing visible but whole objects, and block nobody',
    { timeout: processesMs },
    async () => {
      for (let round = 0; round < 8; round++) {
        const victims = [start('churn', { config, name: '' }), start('churn', { config, name: '' })]
        await Promise.all(victims.map(({ ready }) => ready))
        await sleep(Math.random() * 150)
        await Promise.all(victims.map((victim) => victim.kill('SIGKILL')))
      }
      let whole = 0
      for await (const { name, sizeBytes } of store.list('churn/')) {
        const body = await read(store, name)
        expect(body.byteLength).toBe(sizeBytes)
        if (name === 'churn/same') expect(body.toString()).toBe('x'.repeat(1000))
        else expect(`churn/${sha256(body)}`).toBe(name)
        whole++
      }
      expect(whole).toBeGreaterThan(10)
      const left = await uploadsIn(folder.path)
      expect(await store.abortUnfinishedUploads('', new Date(Date.now() + 1000))).toBe(left.length)
      expect(await uploadsIn(folder.path)).toEqual([])
      await store.put('churn/same', text('free'))
      expect((await readdir(join(folder.path, '.locks'))).filter((name) => name.endsWith('.own'))).toEqual([])
    },
  )
})

it('takes no more memory for a large object than for a small one', { timeout: processesMs }, async () => {
  const { result } = start('large', { config, name: 'large', count: 200 * MiB })
  const { sizeBytes, grownMiB } = (await result) as { sizeBytes: number; grownMiB: number }
  expect(sizeBytes).toBe(200 * MiB)
  expect(grownMiB).toBeLessThan(60)
})
