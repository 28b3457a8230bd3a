/** Kysely over units of work: who acquires a connection, when a transaction begins, and which statements are let through. */
import {
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'
import type { ConnectionPool } from './connection-pool.js'
import type { UnitOfWork } from './contract.js'
import { DatabaseError } from './database-error.js'
import type { PgConnection, Statement } from './pg-connection.js'
import { assertRead } from './statement-guard.js'
import { begin, commit, inTransaction, limitsOf, rollback, type TransactionKind } from './unit-of-work.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- one connection serves every task's tables; each caller names its own type */

function createKysely(driver: Driver): Kysely<any> {
  return new Kysely<any>({
    dialect: {
      createDriver: () => driver,
      createAdapter: () => new PostgresAdapter(),
      createQueryCompiler: () => new PostgresQueryCompiler(),
      createIntrospector: (db) => new PostgresIntrospector(db),
    },
  })
}

const changesRows = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

async function execute<R>(
  connection: PgConnection,
  query: CompiledQuery,
  unit: UnitOfWork,
  options: Pick<Statement, 'single'> = {},
): Promise<QueryResult<R>> {
  const { command, rowCount, rows } = await connection.run(
    { text: query.sql, values: query.parameters, ...options },
    limitsOf(unit),
  )
  return {
    rows: (rows ?? []) as R[],
    ...(changesRows.has(command) && { numAffectedRows: BigInt(rowCount ?? 0) }),
  }
}

function refuseStream(): never {
  throw new DatabaseError('not-supported', 'streaming a query is not supported', {
    hint: 'read pages by key, or COPY … TO STDOUT in a snapshot',
  })
}

class ReaderConnection implements DatabaseConnection {
  inTransaction = false
  constructor(
    readonly connection: PgConnection,
    readonly unit: UnitOfWork,
  ) {}

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    assertRead(query.sql)
    const read = (): Promise<QueryResult<R>> => execute<R>(this.connection, query, this.unit, { single: true })
    return this.inTransaction ? read() : inTransaction(this.connection, 'read-only', this.unit, read)
  }

  // eslint-disable-next-line require-yield -- refuses before the first row
  async *streamQuery(): AsyncIterableIterator<never> {
    refuseStream()
  }
}

const kindOfIsolation: Readonly<Record<string, TransactionKind>> = {
  'read uncommitted': 'read-only',
  'read committed': 'read-only',
  'repeatable read': 'read-only-repeatable-read',
  serializable: 'read-only-serializable',
}

/** Every statement a READ ONLY transaction of its own, unless Kysely's `.transaction()` makes several statements one. */
export function createReader(pool: ConnectionPool, unit: UnitOfWork): Kysely<any> {
  return createKysely({
    init: async () => undefined,
    acquireConnection: async () => new ReaderConnection(await pool.acquire(unit.signal), unit),
    async beginTransaction(
      reader: ReaderConnection,
      { accessMode, isolationLevel = 'read committed' }: TransactionSettings,
    ) {
      const kind = kindOfIsolation[isolationLevel]
      if (accessMode === 'read write' || kind === undefined) {
        throw new DatabaseError('not-a-read', `a reader has no transaction that is ${accessMode ?? isolationLevel}`, {
          hint: 'its transactions are read only; a change belongs into an action',
        })
      }
      await begin(reader.connection, kind, unit)
      reader.inTransaction = true
    },
    async commitTransaction(reader: ReaderConnection) {
      unit.signal?.throwIfAborted()
      await commit(reader.connection, unit)
      reader.inTransaction = false
    },
    async rollbackTransaction(reader: ReaderConnection) {
      await rollback(reader.connection)
      reader.inTransaction = false
    },
    releaseConnection: async (reader: ReaderConnection) => pool.release(reader.connection),
    destroy: async () => undefined,
  })
}

/** A Kysely bound to one open connection, for as long as its session lasts. */
export interface SessionHandle {
  readonly db: Kysely<any>
  /** From now on every statement is refused: a task that goes on after its end must not write outside its transaction. */
  end(): void
  assertOpen(): void
}

export interface SessionOptions {
  readonly connection: PgConnection
  readonly unit: UnitOfWork
  /** Refuses by throwing what may not be sent here. */
  readonly guard: (sql: string) => void
  /** One statement at a time, enforced by the server, too. */
  readonly single?: boolean
  /** Whether Kysely's `.transaction()` may begin one: never inside another one. */
  readonly mayBeginTransactions: boolean
}

export function createSession({
  connection,
  unit,
  guard,
  single = false,
  mayBeginTransactions,
}: SessionOptions): SessionHandle {
  let ended = false
  const assertOpen = (): void => {
    if (ended) {
      throw new DatabaseError('session-ended', 'this database handle has ended with its transaction or session', {
        hint: 'await every statement inside the callback that received the handle',
      })
    }
  }
  const session: DatabaseConnection = {
    async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
      assertOpen()
      guard(query.sql)
      return execute<R>(connection, query, unit, { single })
    },
    // eslint-disable-next-line require-yield -- refuses before the first row
    async *streamQuery() {
      refuseStream()
    },
  }
  const db = createKysely({
    init: async () => undefined,
    async acquireConnection() {
      assertOpen()
      return session
    },
    async beginTransaction(_session, { accessMode, isolationLevel }) {
      if (!mayBeginTransactions) {
        throw new DatabaseError('not-in-transaction', 'a transaction is open already, and transactions do not nest', {
          hint: 'use the handle as it is: everything done with it commits together',
        })
      }
      const mode = [isolationLevel && `isolation level ${isolationLevel}`, accessMode].filter(Boolean).join(' ')
      await connection.run({ text: `begin ${mode}` }, limitsOf(unit))
    },
    commitTransaction: () => commit(connection, unit),
    rollbackTransaction: () => rollback(connection),
    releaseConnection: async () => undefined,
    destroy: async () => undefined,
  })
  return {
    db,
    assertOpen,
    end() {
      ended = true
    },
  }
}
