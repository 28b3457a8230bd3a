/**
 * What this package gives: access to one PostgreSQL database in units of work. Types alone, without a trace of the driver, so that whoever
 * compiles against them needs none.
 */
import type { Kysely } from 'kysely'
import type { ConnectionTarget } from './connection-string.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- one connection serves every task's tables; each caller names its own type */

export interface UnitOfWork {
  /** Aborting cancels the running statement on the server and rolls back. */
  readonly signal?: AbortSignal
  /** Milliseconds for one statement, set with SET LOCAL. */
  readonly statementTimeoutMs: number
  /** Milliseconds that one statement may wait for a lock, set with SET LOCAL. Default: 2000. */
  readonly lockTimeoutMs?: number
}

export interface Notice {
  /** SQLSTATE: class 00 is information, 01 a warning. */
  readonly code: string
  readonly message: string
}

/** One statement that the server has answered, or failed to; for traces. Parameters are never part of it. */
export interface StatementReport {
  readonly text: string
  readonly durationMs: number
  readonly error?: unknown
}

export interface ServerFacts {
  /** `server_version_num`, for example 150018. */
  readonly versionNum: number
  readonly version: string
  /** A standby: it cannot be written to. */
  readonly inRecovery: boolean
  /** No pooler in between: the process id of the connection is the server's own. */
  readonly direct: boolean
  readonly backendPid: number
  /** Database time. */
  readonly now: Date
  /** Milliseconds by which the database's clock is ahead of ours; half of the round trip is taken off. */
  readonly clockSkewMs: number
  readonly currentUser: string
  readonly superuser: boolean
  readonly database: string
  /** Where the connection string leads. */
  readonly host: string
  readonly port: number
  readonly encrypted: boolean
}

export interface ConnectionsOptions {
  /** Where everything goes that needs no session: a pooler in transaction mode will do. */
  readonly url: string
  /** A session-capable connection. Default: `url`, if it proves to be direct. */
  readonly directUrl?: string
  /** What `pg_stat_activity` shows, at most 63 bytes; `application_name` in the connection string takes its place. */
  readonly applicationName: string
  /** Connections at the same time, direct ones not counted. Default: 3. */
  readonly maxConnections?: number
  /** Milliseconds; `connect_timeout` in the connection string takes its place. Default: 10 000. */
  readonly connectTimeoutMs?: number
  /** Called after each statement, for traces. Must not throw. */
  readonly onStatement?: (report: StatementReport) => void
}

export interface TransactionSession {
  readonly db: Kysely<any>
  /** Notices and warnings of this transaction, in order. */
  readonly notices: readonly Notice[]
  /** COPY … FROM STDIN. */
  copyFrom(statement: string, source: AsyncIterable<Uint8Array>): Promise<void>
}

export interface SnapshotSession {
  readonly db: Kysely<any>
  /** COPY (…) TO STDOUT. Leaving the loop early ends the snapshot. */
  copyTo(statement: string): AsyncIterable<Uint8Array>
}

export interface DirectSession {
  readonly db: Kysely<any>
  readonly notices: readonly Notice[]
  readonly backendPid: number
}

/** Access to one database, in units of work. Connections are made when they are needed. */
export interface DatabaseConnections {
  /** Where the connection string leads. */
  readonly target: Pick<ConnectionTarget, 'host' | 'port' | 'user' | 'database' | 'ignoredParameters'>
  /**
   * Each statement is a READ ONLY transaction of its own; `.transaction()` makes several statements one, READ ONLY too.
   * @throws DatabaseError `not-a-read` for what is no plain read, before it is sent
   */
  reader(unit: UnitOfWork): Kysely<any>
  /** REPEATABLE READ, READ ONLY. */
  snapshot<T>(unit: UnitOfWork, read: (session: SnapshotSession) => Promise<T>): Promise<T>
  /**
   * READ COMMITTED, writable: the whole of `work` is one transaction, committed when `work` resolves and nobody aborted.
   * @throws DatabaseError `transaction-aborted` when a failed statement was swallowed by `work`, `commit-unknown` when the answer to COMMIT
   * was lost, `not-in-transaction` for statements that would end or outlive the transaction; the signal's reason when aborted
   */
  transaction<T>(unit: UnitOfWork, work: (session: TransactionSession) => Promise<T>): Promise<T>
  /**
   * A session of its own on the direct connection, closed afterwards. `ticket` ends its application name.
   * @throws DatabaseError `no-direct-connection` when the connection goes through a pooler
   */
  direct<T>(unit: UnitOfWork & { readonly ticket: string }, work: (session: DirectSession) => Promise<T>): Promise<T>
  /** Whether `direct` has somewhere to go, as far as it is known before it is tried: false once a probe has met a pooler, and there is no other URL. */
  readonly hasDirect: boolean
  /** Asks the server what it is, in one round trip. @throws what connecting throws: see `connectionProblem` */
  probe(options?: { readonly signal?: AbortSignal }): Promise<ServerFacts>
  /** Ends every connection, after a little patience with those in use. Never hangs, never throws. */
  close(): Promise<void>
}
