/**
 * A process of its own for the tests that need one. The first argument is the work, the second is JSON. Says `ready` once it is in the middle
 * of it, and prints its result as JSON at the end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { withLock } from '../src/folder-lock.js'
import { openStore } from '../src/open-store.js'
import type { ColdStorageConfig } from '../src/config.js'
import { StoreError, type Store } from '../src/store.js'
import { collect, noise, piecesOf, sha256 } from './bodies.js'

export interface Order {
  readonly config: ColdStorageConfig
  readonly name: string
  readonly count?: number
  readonly path?: string
}

const [work = '', json = '{}'] = process.argv.slice(2)
const order = JSON.parse(json) as Order
const say = (text: string) => process.stdout.write(`${text}\n`)

const works: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  /** Waits for a line on stdin, then creates one object after the other. Says which it made. */
  async create(store) {
    say('ready')
    await new Promise((resolve) => process.stdin.once('data', resolve))
    process.stdin.destroy()
    const made: number[] = []
    for (let index = 0; index < (order.count ?? 0); index++) {
      try {
        await store.put(`${order.name}/${index}`, Buffer.from(`by ${process.pid}`), { ifAbsent: true })
        made.push(index)
      } catch (error) {
        if (codeOf(error) !== 'store-conflict') throw error
      }
    }
    return made
  },

  /** Adds 1 to a number, again and again, by compare and set. */
  async increment(store) {
    say('ready')
    let conflicts = 0
    for (let done = 0; done < (order.count ?? 0);) {
      const { etag } = (await store.head(order.name))!
      const value = Number((await collect(store.get(order.name))).toString())
      try {
        await store.put(order.name, Buffer.from(String(value + 1)), { ifMatch: etag })
        done++
      } catch (error) {
        if (codeOf(error) !== 'store-conflict') throw error
        conflicts++
        await sleep(Math.random() * 10)
      }
    }
    return conflicts
  },

  /** A body that does not end. */
  async endless(store) {
    const body = (async function* () {
      for (let count = 0; ; count++) {
        if (count === 20) say('ready')
        yield noise(64 * 1024)
        await sleep(1)
      }
    })()
    return store.put(order.name, body)
  },

  /** Objects whose names are the hashes of their content, some by condition, some replaced, some deleted. */
  async churn(store) {
    say('ready')
    for (let count = 0; ; count++) {
      const body = noise(1 + Math.floor(Math.random() * 300_000))
      const name = `churn/${sha256(body)}`
      await store.put(name, piecesOf(body, 16_384), count % 2 === 0 ? { ifAbsent: true } : {})
      await store.put('churn/same', Buffer.from('x'.repeat(1000)))
      if (count % 3 === 0) await store.delete(name)
    }
  },

  async 'hold-lock'() {
    return withLock(order.path!, undefined, async () => {
      say('ready')
      await sleep(600_000)
    })
  },

  /** How much memory an upload takes. */
  async large(store) {
    await store.put('warm-up', piecesOf(noise(9 * 1024 * 1024), 65_536))
    const before = process.resourceUsage().maxRSS
    let left = order.count ?? 0
    const body = (async function* () {
      for (; left > 0; left -= 65_536) yield Buffer.alloc(65_536, left % 251)
    })()
    const { sizeBytes } = await store.put(order.name, body)
    return { sizeBytes, grownMiB: (process.resourceUsage().maxRSS - before) / 1024 }
  },
}

function codeOf(error: unknown): string {
  if (error instanceof StoreError) return error.code
  throw error
}

const store = await openStore(order.config)
const result = await works[work]!(store)
await store.close()
say(JSON.stringify(result))
