/**
 * A handful of connections, made when they are needed. `pg.Pool` counts the wait for a free connection against the time limit for
 * connecting, and cannot stop waiting when a run is aborted; this one waits for as long as its caller does.
 */
import { DatabaseError } from './database-error.js'
import type { PgConnection } from './pg-connection.js'

/** Milliseconds that connections in use get at the end, to finish their statement. */
const drainTimeoutMs = 2_000
/**
 * Milliseconds after the abort of a unit of work in which its user must give the connection back. Code that hangs inside a transaction
 * would keep its locks, the task's fence among them, and the turn of whoever records the failure. Less than the two seconds that an
 * aborted task gets to end.
 */
const takeBackMs = 1_000

export class ConnectionPool {
  readonly #connect: (signal: AbortSignal | undefined) => Promise<PgConnection>
  #free: number
  readonly #idle: PgConnection[] = []
  /** Connections in use, each with what ends the watch for its abort. */
  readonly #used = new Map<PgConnection, () => void>()
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
      this.#used.set(connection, this.#watch(connection, signal))
      return connection
    } catch (error) {
      this.#endTurn()
      throw error
    }
  }

  /** A connection that is broken or still in a transaction is not used again. */
  release(connection: PgConnection): void {
    if (!this.#takeOut(connection)) return
    if (this.#closed || connection.transactionStatus !== 'idle') connection.destroy()
    if (!connection.broken) {
      connection.setIdle(true)
      this.#idle.push(connection)
    }
    this.#endTurn()
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
      ...[...this.#used.keys()].map((connection) => {
        this.#takeOut(connection)
        return connection.abandon(new DatabaseError('connections-closed', 'the connections were closed meanwhile'))
      }),
      ...this.#idle.splice(0).map((connection) => connection.close()),
    ])
  }

  /** @returns false when the connection was taken back before. */
  #takeOut(connection: PgConnection): boolean {
    this.#used.get(connection)?.()
    const wasUsed = this.#used.delete(connection)
    if (this.#used.size === 0) this.#onDrained?.()
    return wasUsed
  }

  /** Takes the connection back from a user who keeps it after the abort. */
  #watch(connection: PgConnection, signal: AbortSignal | undefined): () => void {
    let timer: NodeJS.Timeout | undefined
    const takeBack = (): void => {
      this.#takeOut(connection)
      const reason = new DatabaseError('session-ended', 'the connection was taken back after the abort')
      void connection.abandon(reason).finally(() => {
        this.#endTurn()
      })
    }
    const onAbort = (): void => {
      timer = setTimeout(takeBack, takeBackMs)
    }
    if (signal?.aborted === true) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    return () => {
      signal?.removeEventListener('abort', onAbort)
      clearTimeout(timer)
    }
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
