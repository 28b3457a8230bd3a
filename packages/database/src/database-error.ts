/** What this package raises by itself. Errors of the server keep their SQLSTATE, errors of the network their errno name. */
export type DatabaseErrorCode =
  /** The connection ended, or nothing came back in time. */
  | 'connection-lost'
  | 'connect-timeout'
  | 'tls-refused'
  | 'tls-files'
  | 'password-missing'
  | 'connections-closed'
  /** The answer to COMMIT was lost: the change may or may not have happened. */
  | 'commit-unknown'
  /** COMMIT was answered with ROLLBACK, or the transaction was gone before it. */
  | 'transaction-aborted'
  | 'session-ended'
  | 'not-a-read'
  | 'not-in-transaction'
  | 'not-a-copy'
  | 'no-direct-connection'
  | 'connection-string'
  | 'identifier'
  | 'not-supported'

export class DatabaseError extends Error {
  override readonly name: string = 'DatabaseError'
  /** One of {@link DatabaseErrorCode}, or the SQLSTATE or errno name of what stopped a connection. */
  readonly code: string
  readonly hint: string | undefined

  constructor(
    code: DatabaseErrorCode | (string & {}),
    message: string,
    options: { readonly hint?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }
}

/** The `code` of whatever was thrown: SQLSTATE, errno name or our own; undefined without one. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

export function isSqlState(code: string | undefined): code is string {
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]{4}$/.test(code)
}
