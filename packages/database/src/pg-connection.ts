/**
 * One connection, with what `pg` leaves to its user: one statement at a time, an end to every wait, cancelling on the server, notices,
 * and a code at every error.
 */
import type { Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import type pg from 'pg'
import { sendCancelRequest, type CancelTarget } from './cancel-request.js'
import type { Notice, StatementReport } from './contract.js'
import { codeOf, DatabaseError } from './database-error.js'

export interface Statement {
  readonly text: string
  readonly values?: readonly unknown[]
  /** By the extended protocol even without values: the server then refuses several statements in one. */
  readonly single?: boolean
}

export interface StatementLimits {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds after which the server is taken for gone. It has its own, shorter `statement_timeout`. */
  readonly timeoutMs: number
}

/** How long a cancelled statement may take to end, and a cancel request to be answered. */
const cancelTimeoutMs = 5_000
/** A cancel that arrives before the server has read the statement has no effect, so it is sent again. */
const cancelAgainMs = 250
/** How long a polite goodbye may take. */
const closeTimeoutMs = 2_000

/** What `pg.Client` has and its types leave out. */
interface ClientInternals {
  readonly connection: { readonly stream: Socket & Partial<Pick<TLSSocket, 'encrypted'>> }
  readonly processID: number | null
  readonly secretKey: number | null
  getTransactionStatus(): 'I' | 'T' | 'E' | null
  ref(): void
  unref(): void
}

export class PgConnection {
  readonly #client: pg.Client
  readonly #internals: ClientInternals
  readonly #tls: ConnectionOptions | undefined
  readonly #onStatement: ((report: StatementReport) => void) | undefined
  #lost: unknown
  #ended = false
  #last: Promise<unknown> = Promise.resolve()
  #notices: Notice[] = []
  /** Stops the running statement. */
  #stop: ((reason: unknown) => void) | undefined

  /** @param client connected; @param tls the options that it was connected with */
  constructor(client: pg.Client, tls?: ConnectionOptions, onStatement?: (report: StatementReport) => void) {
    this.#client = client
    this.#internals = client as unknown as ClientInternals
    this.#tls = tls
    this.#onStatement = onStatement
    // Without a listener, the end of an idle connection would end the process.
    client.on('error', (error) => {
      this.#lost ??= error
    })
    client.on('end', () => {
      this.#ended = true
    })
    client.on('notice', ({ code, message }) => {
      this.#notices.push({ code: code ?? '', message: message ?? '' })
    })
  }

  /** No statement can be sent any more. */
  get broken(): boolean {
    return this.#ended || this.#lost !== undefined
  }

  /** What the server (or the pooler) calls this connection; the server's process id on a direct one. */
  get processId(): number {
    return this.#internals.processID ?? 0
  }

  get encrypted(): boolean {
    return this.#internals.connection.stream.encrypted === true
  }

  /** As the server last told: idle, in a transaction, or in a failed one. */
  get transactionStatus(): 'idle' | 'open' | 'failed' {
    const status = this.#internals.getTransactionStatus()
    return status === 'T' ? 'open' : status === 'E' ? 'failed' : 'idle'
  }

  /** Starts a new list of notices and returns it; the server's notices are appended as they come. */
  collectNotices(): readonly Notice[] {
    this.#notices = []
    return this.#notices
  }

  /** An idle connection does not keep the process alive. */
  setIdle(idle: boolean): void {
    if (idle) this.#internals.unref()
    else this.#internals.ref()
  }

  /** Runs one statement, after those before it. Several results of one simple message come as the last one. */
  async run<Row extends pg.QueryResultRow>(
    statement: Statement,
    limits: StatementLimits,
  ): Promise<pg.QueryResult<Row>> {
    return this.exclusively(() => this.#runNow<Row>(statement, limits))
  }

  /** Nobody else uses the connection until `work` has ended. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #runNow<Row extends pg.QueryResultRow>(
    { text, values, single = false }: Statement,
    limits: StatementLimits,
  ): Promise<pg.QueryResult<Row>> {
    const startedMs = performance.now()
    const query = { text, ...(values && { values: [...values] }), ...(single && { queryMode: 'extended' }) }
    try {
      const results = await this.supervise(() => this.#client.query<Row>(query), limits)
      this.#onStatement?.({ text, durationMs: performance.now() - startedMs })
      return Array.isArray(results) ? ((results as pg.QueryResult<Row>[]).at(-1) as pg.QueryResult<Row>) : results
    } catch (error) {
      this.#onStatement?.({ text, durationMs: performance.now() - startedMs, error })
      throw error
    }
  }

  /** Hands a COPY stream to the client; only inside {@link exclusively} and {@link supervise}. */
  submit<S extends pg.Submittable>(stream: S): S {
    return this.#client.query(stream)
  }

  /**
   * Awaits what `start` sends. On abort or without an answer in time the statement is cancelled on the server; when this rejects, it has
   * ended there, or the connection is closed. A cancel can then no longer hit a later statement.
   */
  async supervise<T>(start: () => Promise<T>, { signal, timeoutMs }: StatementLimits): Promise<T> {
    signal?.throwIfAborted()
    if (this.broken) throw this.#explain(this.#lost)
    let stopped: { readonly reason: unknown } | undefined
    let cancelling: Promise<void> | undefined
    const running = start()
    const settled = running.then(
      () => undefined,
      () => undefined,
    )
    const stop = (reason: unknown): void => {
      if (stopped !== undefined) return
      stopped = { reason }
      cancelling = this.#cancelUntil(settled)
    }
    this.#stop = stop
    const onAbort = (): void => stop(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(
      () => stop(new DatabaseError('connection-lost', `the server did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
    try {
      const result = await running
      // Too late to stop it, but whoever aborted wants no result.
      if (stopped !== undefined) throw stopped.reason
      return result
    } catch (error) {
      throw stopped === undefined ? this.#explain(error) : stopped.reason
    } finally {
      this.#stop = undefined
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      await cancelling
    }
  }

  async #cancelUntil(settled: Promise<undefined>): Promise<void> {
    let running = true
    void settled.then(() => {
      running = false
    })
    const deadlineAt = performance.now() + cancelTimeoutMs
    while (running && performance.now() < deadlineAt) {
      // A request whose end is not known could hit the next statement: such a connection is not used again.
      if (!(await sendCancelRequest(this.#cancelTarget(), cancelTimeoutMs))) return this.destroy()
      await Promise.race([settled, delay(cancelAgainMs)])
    }
    if (running) this.destroy()
  }

  #cancelTarget(): CancelTarget {
    const { stream } = this.#internals.connection
    const { host, port } = this.#client
    const endpoint = host.startsWith('/')
      ? { path: `${host}/.s.PGSQL.${port}` }
      : { host: stream.remoteAddress ?? host, port: stream.remotePort ?? port }
    return {
      endpoint,
      ...(this.encrypted && { tls: this.#tls ?? {} }),
      processId: this.processId,
      secretKey: this.#internals.secretKey ?? 0,
    }
  }

  /** The connection's end has reasons that `pg` tells elsewhere, or without a code. */
  #explain(error: unknown): unknown {
    if (codeOf(error) !== undefined) return error
    const lost = this.#lost
    if (!this.broken && error instanceof Error) return error
    const code = codeOf(lost) ?? 'connection-lost'
    const message = lost instanceof Error ? lost.message : 'the connection has ended'
    return new DatabaseError(code, message, { cause: error ?? lost })
  }

  /** Closes the socket at once. The server rolls back as soon as it notices. */
  destroy(): void {
    this.#ended = true
    this.#internals.connection.stream.destroy()
  }

  /**
   * Closes a connection that is in use: what it runs is cancelled, because the server would not notice our end before it is done.
   * @param reason what its user gets to see
   */
  async abandon(reason: DatabaseError): Promise<void> {
    this.#lost ??= reason
    this.#stop?.(reason)
    await Promise.race([this.#last, delay(closeTimeoutMs)])
    this.destroy()
  }

  /** Says goodbye, but not for ever. */
  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    // An idle socket keeps no process alive: without this, a process that has nothing else to do would end in the middle of what awaits us.
    this.setIdle(false)
    await Promise.race([this.#client.end().catch(() => undefined), delay(closeTimeoutMs)])
    this.destroy()
  }
}

/** The timer outlives the race that it was made for, and then keeps no process alive; what it races against does. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
