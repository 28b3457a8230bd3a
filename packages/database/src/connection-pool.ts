/**
 * A handful of connections, made when they are needed. `pg.Pool` counts the wait for a free connection against the time limit for
 * connecting, and cannot stop waiting when a run is aborted; this one waits for as long as its caller does.
 */
import { DatabaseError } from './database-error.js'
import type { PgConnection } from './pg-connection.js'

/** Milliseconds that connections in use get at the end, to finish their statement. */
const drainTimeoutMs = 2_000

export class ConnectionPool {
  readonly #connect: (signal: AbortSignal | undefined) => Promise<PgConnection>
  #free: number
  readonly #idle: PgConnection[] = []
  readonly #used = new Set<PgConnection>()
  readonly #waiting: (() => void)[] = []
  #closed = false
  #onDrained: (() => void) | undefined

  constructor(maxConnections: number, connect: (signal: AbortSignal | undefined) => Promise<PgConnection>) {
    this.#free = maxConnections
    this.#connect = connect
  }

  /** @throws the signal's reason; whatever connecting throws; DatabaseError `connections-closed` */
  async use<T>(signal: AbortSignal | undefined, work: (connection: PgConnection) => Promise<T>): Promise<T> {
    const connection = await this.acquire(signal)
    try {
      return await work(connection)
    } finally {
      this.release(connection)
    }
  }

  async acquire(signal?: AbortSignal): Promise<PgConnection> {
    await this.#takeTurn(signal)
    try {
      this.#assertOpen()
      let connection = this.#idle.pop()
      while (connection?.broken) connection = this.#idle.pop()
      connection?.setIdle(false)
      connection ??= await this.#connect(signal)
      if (this.#closed) await connection.close()
      this.#assertOpen()
      this.#used.add(connection)
      return connection
    } catch (error) {
      this.#endTurn()
      throw error
    }
  }

  /** A connection that is broken or still in a transaction is not used again. */
  release(connection: PgConnection): void {
    if (!this.#used.delete(connection)) return
    if (this.#closed || connection.transactionStatus !== 'idle') connection.destroy()
    if (!connection.broken) {
      connection.setIdle(true)
      this.#idle.push(connection)
    }
    this.#endTurn()
    if (this.#used.size === 0) this.#onDrained?.()
  }

  /** Waits a little for connections in use, then cancels what they run and ends them all. Never hangs. */
  async close(): Promise<void> {
    this.#closed = true
    for (const wake of this.#waiting.splice(0)) wake()
    if (this.#used.size > 0) {
      const drained = new Promise<void>((resolve) => (this.#onDrained = resolve))
      let timer: NodeJS.Timeout | undefined
      await Promise.race([drained, new Promise<void>((resolve) => (timer = setTimeout(resolve, drainTimeoutMs)))])
      clearTimeout(timer)
    }
    await Promise.all([
      ...[...this.#used].map((connection) => connection.abandon()),
      ...this.#idle.splice(0).map((connection) => connection.close()),
    ])
  }

  #assertOpen(): void {
    if (this.#closed) throw new DatabaseError('connections-closed', 'the connections were closed before')
  }

  async #takeTurn(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    this.#assertOpen()
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const wake = (): void => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(wake)
    })
  }

  /** The turn goes to whoever waits longest, or becomes free. */
  #endTurn(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
