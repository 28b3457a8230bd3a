/**
 * What core needs of PostgreSQL. `@battlescope/database` provides it; core itself knows no driver.
 */
import type { Kysely } from 'kysely'

/** A notice as the server sent it. Severities are localised by the server, so judge by `code`. */
export interface Notice {
  /** SQLSTATE: class 00 is information, 01 a warning. */
  readonly code: string
  readonly message: string
}

export interface UnitOfWork {
  /** Aborting cancels the running statement on the server and rolls back. */
  readonly signal?: AbortSignal
  /** Milliseconds for one statement, set with SET LOCAL. */
  readonly statementTimeoutMs: number
  /** Milliseconds that one statement may wait for a lock, set with SET LOCAL. Default: 2000. */
  readonly lockTimeoutMs?: number
}

/* eslint-disable @typescript-eslint/no-explicit-any -- one connection serves the scheduler's own tables and every task's; each caller names its own type */

export interface TransactionSession {
  readonly db: Kysely<any>
  readonly notices: readonly Notice[]
  copyFrom(statement: string, source: AsyncIterable<Uint8Array>): Promise<void>
}

export interface SnapshotSession {
  readonly db: Kysely<any>
  copyTo(statement: string): AsyncIterable<Uint8Array>
}

export interface DirectSession {
  readonly db: Kysely<any>
  readonly notices: readonly Notice[]
  readonly backendPid: number
}

export interface Connections {
  /** Each statement is a READ ONLY transaction of its own; statements that are no plain reads are refused (`not-a-read`). */
  reader(unit: UnitOfWork): Kysely<any>
  /** REPEATABLE READ, READ ONLY. */
  snapshot<T>(unit: UnitOfWork, read: (session: SnapshotSession) => Promise<T>): Promise<T>
  /** READ COMMITTED, writable: the whole of `work` is one transaction. */
  transaction<T>(unit: UnitOfWork, work: (session: TransactionSession) => Promise<T>): Promise<T>
  /**
   * A session of its own on the direct connection, closed afterwards. `ticket` becomes part of its application name, so that a later
   * run can find a statement that outlived its process.
   * @throws an error with code `no-direct-connection` when no connection proved to be direct.
   */
  direct<T>(unit: UnitOfWork & { readonly ticket: string }, work: (session: DirectSession) => Promise<T>): Promise<T>
  /** False where it is known already that there is none. Default: true. */
  readonly hasDirect?: boolean
}
