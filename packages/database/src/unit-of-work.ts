/**
 * One transaction on a pooled connection, with its limits set by SET LOCAL: a session SET would leak to the pooler's next client, and
 * startup parameters are refused by it.
 */
import type { UnitOfWork } from './contract.js'
import { codeOf, DatabaseError, isSqlState } from './database-error.js'
import type { PgConnection } from './pg-connection.js'

const defaultLockTimeoutMs = 2_000
/** How much longer than the server we wait for its answer. */
const answerMarginMs = 5_000
/** A transaction that is open and does nothing may do so for as long as one statement may take, and for this long at least. */
const leastIdleTimeoutMs = 10_000
const rollbackTimeoutMs = 5_000

/**
 * A process that is frozen between two statements keeps its session, and whoever takes its task over waits for that session to go. So the
 * server ends it: after as long as one statement may take, and a margin for what a task computes between two.
 */
function idleSessionTimeoutMs(unit: UnitOfWork): number {
  return wholeMs(unit.statementTimeoutMs + leastIdleTimeoutMs)
}

const wholeMs = (ms: number): number => Math.min(Math.max(Math.round(ms), 1), 2_147_483_647)

export function limitsOf(unit: UnitOfWork): { readonly signal: AbortSignal | undefined; readonly timeoutMs: number } {
  return { signal: unit.signal, timeoutMs: wholeMs(unit.statementTimeoutMs) + answerMarginMs }
}

/**
 * What a role or a database may have set otherwise, and what decides how values look as text: what is read, compared and archived must look
 * the same to everyone. https://www.postgresql.org/docs/current/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-FORMAT
 */
const textOutput = [
  ['datestyle', "'ISO, YMD'"],
  ['intervalstyle', "'postgres'"],
  ['timezone', "'UTC'"],
  // Any value above 0 means the shortest digits that give the same number back.
  ['extra_float_digits', '1'],
  ['bytea_output', "'hex'"],
  ['lc_monetary', "'C'"],
] as const

/** The settings of a unit as statements, for a transaction (`local`) or for a session of its own. */
export function settingsOf(unit: UnitOfWork, scope: 'local' | 'session'): readonly string[] {
  const set = scope === 'local' ? 'set local' : 'set'
  return [
    ...(scope === 'local' ? [] : [`set idle_session_timeout = ${idleSessionTimeoutMs(unit)}`]),
    `${set} statement_timeout = ${wholeMs(unit.statementTimeoutMs)}`,
    `${set} lock_timeout = ${wholeMs(unit.lockTimeoutMs ?? defaultLockTimeoutMs)}`,
    `${set} idle_in_transaction_session_timeout = ${Math.max(wholeMs(unit.statementTimeoutMs), leastIdleTimeoutMs)}`,
    // A role may be set to hear no warnings, and a missing permission is only a warning to ANALYZE.
    `${set} client_min_messages = notice`,
    ...textOutput.map(([name, value]) => `${set} ${name} = ${value}`),
  ]
}

export type TransactionKind = 'read-only' | 'read-only-repeatable-read' | 'read-only-serializable' | 'read-write'

const modes: Record<TransactionKind, string> = {
  'read-only': 'isolation level read committed read only',
  'read-only-repeatable-read': 'isolation level repeatable read read only',
  'read-only-serializable': 'isolation level serializable read only',
  'read-write': 'isolation level read committed read write',
}

/** Begins a transaction and sets its limits, in one message. */
export async function begin(connection: PgConnection, kind: TransactionKind, unit: UnitOfWork): Promise<void> {
  await connection.run({ text: [`begin ${modes[kind]}`, ...settingsOf(unit, 'local')].join('; ') }, limitsOf(unit))
}

/**
 * @throws DatabaseError `transaction-aborted` when there was nothing left to commit, `commit-unknown` when the answer was lost; the
 * server's own error when it refused, for example a deferred constraint
 */
export async function commit(connection: PgConnection, unit: UnitOfWork): Promise<void> {
  if (connection.transactionStatus === 'idle') {
    throw new DatabaseError('transaction-aborted', 'the transaction had ended before its COMMIT')
  }
  let tag: string
  try {
    // Without the signal: a COMMIT that was sent is waited for, because only its answer says what became of it.
    tag = (await connection.run({ text: 'commit' }, { timeoutMs: limitsOf(unit).timeoutMs })).command
  } catch (cause) {
    const code = codeOf(cause)
    // 57P01 and 57P02 end the connection, and may come between the commit and its answer.
    if (isSqlState(code) && !/^(08|57P0[12])/.test(code)) throw cause
    throw new DatabaseError(
      'commit-unknown',
      'the connection ended before COMMIT was answered: the change may or may not be there',
      {
        hint: 'look before doing it again',
        cause,
      },
    )
  }
  if (tag !== 'COMMIT') {
    throw new DatabaseError(
      'transaction-aborted',
      'the transaction was rolled back, because a statement in it had failed',
    )
  }
}

/** Never throws: a connection on which it fails is closed, and the server rolls back. */
export async function rollback(connection: PgConnection): Promise<void> {
  if (connection.broken || connection.transactionStatus === 'idle') return
  try {
    await connection.run({ text: 'rollback' }, { timeoutMs: rollbackTimeoutMs })
  } catch {
    connection.destroy()
  }
}

/** Runs `work` inside a transaction: COMMIT when it resolves and nobody aborted, else ROLLBACK. */
export async function inTransaction<T>(
  connection: PgConnection,
  kind: TransactionKind,
  unit: UnitOfWork,
  work: () => Promise<T>,
): Promise<T> {
  try {
    await begin(connection, kind, unit)
    const result = await work()
    unit.signal?.throwIfAborted()
    await commit(connection, unit)
    return result
  } catch (error) {
    await rollback(connection)
    throw error
  }
}
