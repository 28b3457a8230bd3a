import { StoreError, type ReadOptions, type Store, type StoredObject, type WriteOptions } from './store.js'

export const storeMethods = [
  'head',
  'get',
  'list',
  'put',
  'delete',
  'countUnfinishedUploads',
  'abortUnfinishedUploads',
] as const
export type StoreMethod = (typeof storeMethods)[number]

/**
 * - `timeout`: no answer, and nothing happens in the store. Of a body, nothing is read.
 * - `error`: the store answers with an error (500), and nothing happens in it.
 * - `broken-off`: of `get` and `list`: an error after the first bytes or objects; of `put`: an error after half of the body was read.
 * - `after-effect`: everything happens as it should, and then the answer gets lost.
 * - `truncated`: the last byte is missing, and nobody says so: in what is read, or in what is stored.
 * - `corrupted`: one bit of one byte is another, and nobody says so: in what is read, or in what is stored.
 */
export type Failure = 'timeout' | 'error' | 'broken-off' | 'after-effect' | 'truncated' | 'corrupted'

/** Which calls fail, and how. */
export interface Fault {
  readonly method: StoreMethod
  /** The how-manieth call of the method, among those that `name` fits; from 1. Absent: each of them. */
  readonly call?: number
  /** Only calls whose name or prefix it fits; without the flags g and y. Absent: any. */
  readonly name?: RegExp
  readonly failure: Failure
  /** Thrown in place of the error that the failure stands for. */
  readonly error?: StoreError
  /** Which byte is `corrupted`; from 0, and the last one if there are not so many. Default: 0. */
  readonly at?: number
}

export interface StoreCall {
  readonly method: StoreMethod
  /** Of the object, or the prefix. */
  readonly name: string
  readonly fault: Fault | undefined
}

/** A store that fails as planned, and what was asked of it. */
export interface FaultyStore extends Store {
  readonly calls: readonly StoreCall[]
  /** Faults of the plan that never came true; a test that expects them should look. */
  unused(): readonly Fault[]
}

/**
 * Wraps a real store, and lets calls fail as planned; the others go through. A call is counted when it is made, `get` and `list` included.
 * Of several faults that fit, the first in the plan counts.
 */
export function faultyStore(store: Store, plan: readonly Fault[]): FaultyStore {
  return new Faulty(store, plan)
}

class Faulty implements FaultyStore {
  readonly location: string
  readonly conditionalWrites: boolean
  readonly calls: StoreCall[] = []
  readonly #store: Store
  readonly #plan: readonly Fault[]
  readonly #fitting = new Map<Fault, number>()
  readonly #used = new Set<Fault>()

  constructor(store: Store, plan: readonly Fault[]) {
    this.#store = store
    this.#plan = plan
    this.location = store.location
    this.conditionalWrites = store.conditionalWrites
  }

  unused(): readonly Fault[] {
    return this.#plan.filter((fault) => !this.#used.has(fault))
  }

  head(name: string, options?: ReadOptions): Promise<StoredObject | undefined> {
    return this.#answer('head', name, () => this.#store.head(name, options))
  }

  get(name: string, options?: Parameters<Store['get']>[1]): AsyncIterable<Uint8Array> {
    const fault = this.#count('get', name)
    const bytes = () => this.#store.get(name, options)
    if (fault === undefined) return bytes()
    if (fault.failure === 'truncated') return truncated(bytes())
    if (fault.failure === 'corrupted') return corrupted(bytes(), fault.at ?? 0)
    return failing(bytes, fault, `read ${name}`)
  }

  list(prefix: string, options?: ReadOptions): AsyncIterable<StoredObject> {
    const fault = this.#count('list', prefix)
    const objects = () => this.#store.list(prefix, options)
    return fault === undefined ? objects() : failing(objects, fault, `list ${prefix}*`)
  }

  async put(name: string, body: Uint8Array | AsyncIterable<Uint8Array>, options?: WriteOptions): Promise<StoredObject> {
    const fault = this.#count('put', name)
    const chunks = body instanceof Uint8Array ? only(body) : body
    switch (fault?.failure) {
      case undefined:
        return this.#store.put(name, body, options)
      case 'truncated':
        return this.#store.put(name, truncated(chunks), options)
      case 'corrupted':
        return this.#store.put(name, corrupted(chunks, fault.at ?? 0), options)
      case 'after-effect':
        await this.#store.put(name, body, options)
        throw errorOf(fault, `write ${name}`)
      case 'broken-off':
        // The wrapped store sees a body that fails, and so has to clean up what it began.
        return this.#store.put(
          name,
          failing(() => chunks, fault, `write ${name}`),
          options,
        )
      case 'timeout':
      case 'error':
        throw errorOf(fault, `write ${name}`)
    }
  }

  delete(name: string, options?: ReadOptions): Promise<void> {
    return this.#answer('delete', name, () => this.#store.delete(name, options))
  }

  countUnfinishedUploads(prefix: string, startedBefore: Date, options?: ReadOptions): Promise<number> {
    return this.#answer('countUnfinishedUploads', prefix, () =>
      this.#store.countUnfinishedUploads(prefix, startedBefore, options),
    )
  }

  abortUnfinishedUploads(prefix: string, startedBefore: Date, options?: ReadOptions): Promise<number> {
    return this.#answer('abortUnfinishedUploads', prefix, () =>
      this.#store.abortUnfinishedUploads(prefix, startedBefore, options),
    )
  }

  async #answer<T>(method: StoreMethod, name: string, call: () => Promise<T>): Promise<T> {
    const fault = this.#count(method, name)
    if (fault === undefined) return call()
    if (fault.failure === 'after-effect') await call()
    throw errorOf(fault, `${method} ${name}`)
  }

  #count(method: StoreMethod, name: string): Fault | undefined {
    let chosen: Fault | undefined
    for (const fault of this.#plan) {
      if (fault.method !== method || fault.name?.test(name) === false) continue
      const count = (this.#fitting.get(fault) ?? 0) + 1
      this.#fitting.set(fault, count)
      if (fault.call === undefined || fault.call === count) chosen ??= fault
    }
    if (chosen !== undefined) this.#used.add(chosen)
    this.calls.push({ method, name, fault: chosen })
    return chosen
  }
}

function errorOf({ failure, error }: Fault, what: string): StoreError {
  if (error !== undefined) return error
  const why = failure === 'timeout' ? 'TimeoutError: no answer in time' : 'InternalError: status 500'
  return new StoreError('store-unavailable', `cannot ${what}: ${why}`, { hint: 'injected by a test' })
}

async function* failing<T>(make: () => AsyncIterable<T>, fault: Fault, what: string): AsyncIterable<T> {
  if (fault.failure === 'after-effect') yield* make()
  if (fault.failure === 'broken-off') {
    for await (const first of make()) {
      yield first instanceof Uint8Array ? (first.subarray(0, Math.ceil(first.byteLength / 2)) as T) : first
      break
    }
  }
  throw errorOf(fault, what)
}

async function* only(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}

/** All but the last byte: what is hardest to notice. */
async function* truncated(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let held: Uint8Array | undefined
  for await (const chunk of chunks) {
    if (chunk.byteLength === 0) continue
    if (held !== undefined) yield held
    // A copy: its maker may use the memory again.
    held = Uint8Array.from(chunk)
  }
  if (held !== undefined) yield held.subarray(0, held.byteLength - 1)
}

async function* corrupted(chunks: AsyncIterable<Uint8Array>, at: number): AsyncIterable<Uint8Array> {
  let offset = 0
  let held: Uint8Array | undefined
  for await (const chunk of chunks) {
    if (chunk.byteLength === 0) continue
    if (held !== undefined) yield held
    held = Uint8Array.from(chunk)
    if (at >= offset && at < offset + held.byteLength) flip(held, at - offset)
    offset += held.byteLength
  }
  if (held === undefined) return
  if (at >= offset) flip(held, held.byteLength - 1)
  yield held
}

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 1
}
