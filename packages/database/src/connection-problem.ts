/** Why there is no connection, in words for whoever has to mend it. Judged by codes alone: texts are localised. */
import { codeOf, DatabaseError, isSqlState } from './database-error.js'

export type ConnectionProblemKind =
  | 'connection-string'
  | 'unreachable'
  | 'unknown-host'
  | 'timeout'
  | 'tls'
  | 'authentication'
  | 'database-missing'
  | 'permission'
  | 'too-many-connections'
  | 'starting-up'
  | 'shutting-down'
  | 'protocol'
  | 'lost'
  | 'other'

export interface ConnectionProblem {
  readonly kind: ConnectionProblemKind
  /** One line, without the password. */
  readonly message: string
  readonly hint: string
}

interface Known {
  readonly kind: ConnectionProblemKind
  readonly words: string
  readonly hint: string
}

const authentication: Known = {
  kind: 'authentication',
  words: 'user or password was not accepted',
  hint: 'correct user and password in the connection string',
}
const unreachable: Known = {
  kind: 'unreachable',
  words: 'nothing answers there',
  hint: 'is the server running, and are host and port right? In Kubernetes: does a NetworkPolicy forbid it?',
}
const unknownHost: Known = {
  kind: 'unknown-host',
  words: 'the host name cannot be resolved',
  hint: 'correct the host in the connection string; EAI_AGAIN means that the name server did not answer',
}
const timeout: Known = {
  kind: 'timeout',
  words: 'no answer in time',
  hint: 'a firewall may drop the packets; connect_timeout in the connection string raises the limit (seconds)',
}
const lost: Known = {
  kind: 'lost',
  words: 'the connection was closed from the other side',
  hint: 'is this a PostgreSQL server? Its log says why it closed the connection',
}
const shuttingDown: Known = {
  kind: 'shutting-down',
  words: 'the server is shutting down',
  hint: 'the next run tries again',
}
const tls: Known = {
  kind: 'tls',
  words: 'TLS failed',
  hint: 'check sslmode and sslrootcert in the connection string, and the certificate of the server',
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html and Node's error codes
const knownCodes: Readonly<Record<string, Known>> = {
  ECONNREFUSED: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  EHOSTDOWN: unreachable,
  EACCES: { ...unreachable, words: 'the Unix socket may not be used', hint: 'check the permissions of its folder' },
  ENOENT: {
    ...unreachable,
    words: 'there is no such Unix socket',
    hint: 'is the server running, and is its folder right?',
  },
  ENOTFOUND: unknownHost,
  EAI_AGAIN: unknownHost,
  ETIMEDOUT: timeout,
  'connect-timeout': timeout,
  ECONNRESET: lost,
  EPIPE: lost,
  'connection-lost': lost,
  '28P01': authentication,
  '28000': {
    kind: 'authentication',
    words: 'the server does not let this user in from here',
    hint: 'the role may not exist or not log in, or pg_hba.conf has no entry for this host, user, database and encryption',
  },
  'password-missing': {
    kind: 'authentication',
    words: 'the server wants a password, and the connection string has none',
    hint: 'add it, percent-encoded: postgresql://user:password@host/database',
  },
  '3D000': {
    kind: 'database-missing',
    words: 'the database does not exist',
    hint: 'correct its name in the connection string, or create it',
  },
  '42501': {
    kind: 'permission',
    words: 'the role may not connect to the database',
    hint: 'GRANT CONNECT ON DATABASE … TO …',
  },
  '53300': {
    kind: 'too-many-connections',
    words: 'the server has no connection left',
    hint: 'raise max_connections, use a pooler, or let others hold fewer connections; the next run tries again',
  },
  '57P03': {
    kind: 'starting-up',
    words: 'the server is starting up or not yet ready',
    hint: 'the next run tries again',
  },
  '57P01': shuttingDown,
  '57P02': shuttingDown,
  '08P01': {
    kind: 'protocol',
    words: 'the other side refused the connection',
    hint: 'poolers report a wrong user, password or database this way: check the entry in the pooler',
  },
  EPROTO: tls,
  'tls-refused': {
    ...tls,
    words: 'the server offers no TLS',
    hint: 'turn TLS on in the server, or use sslmode=prefer or disable',
  },
  'tls-files': {
    ...tls,
    words: 'a file for TLS cannot be read',
    hint: 'mount the file, or correct its path in the connection string',
  },
  DEPTH_ZERO_SELF_SIGNED_CERT: {
    ...tls,
    words: 'the certificate of the server is self-signed',
    hint: 'name its authority with sslrootcert',
  },
  SELF_SIGNED_CERT_IN_CHAIN: {
    ...tls,
    words: 'the authority of the server is not known',
    hint: 'name it with sslrootcert',
  },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
    ...tls,
    words: 'the authority of the server is not known',
    hint: 'name it with sslrootcert',
  },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: {
    ...tls,
    words: 'the authority of the server is not known',
    hint: 'name it with sslrootcert',
  },
  CERT_HAS_EXPIRED: { ...tls, words: 'the certificate of the server has expired', hint: 'renew it' },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    ...tls,
    words: 'the certificate is for another host',
    hint: 'connect by the name in the certificate, or use sslmode=verify-ca if the name cannot match',
  },
  'connection-string': {
    kind: 'connection-string',
    words: '',
    hint: 'postgresql://user:password@host:5432/database?sslmode=require',
  },
}

function findKnown(code: string | undefined): Known | undefined {
  if (code === undefined) return undefined
  if (Object.hasOwn(knownCodes, code)) return knownCodes[code]
  return /^(ERR_SSL_|ERR_TLS_|ERR_OSSL_|CERT_|UNABLE_TO_|HOSTNAME_MISMATCH)/.test(code) ? tls : undefined
}

/**
 * What kind of failure to connect this is, and what to do about it. An SQLSTATE counts only in an error of this package: `42501` from a
 * statement is a missing grant on a table, and no problem of the connection, so it is of the kind `other`.
 */
export function connectionProblem(error: unknown): ConnectionProblem {
  const code = codeOf(error)
  const known = isSqlState(code) && !(error instanceof DatabaseError) ? undefined : findKnown(code)
  const message = error instanceof Error && error.message !== '' ? error.message : (known?.words ?? String(error))
  if (known === undefined)
    return {
      kind: 'other',
      message,
      hint: (error as Partial<DatabaseError> | undefined)?.hint ?? 'the log of the server may say more',
    }
  return { kind: known.kind, message, hint: known.hint }
}

/** The error of a failed connection: its code, where, why, and what to do. */
export function makeConnectError(error: unknown, where: string): DatabaseError {
  const code = codeOf(error) ?? 'connection-lost'
  const known = findKnown(code)
  const own = error instanceof Error ? error.message : String(error)
  const words =
    known === undefined ? own : own === '' || own.includes(known.words) ? known.words : `${known.words} (${own})`
  return new DatabaseError(code, `cannot connect to ${where}: ${words}`, { hint: known?.hint, cause: error })
}
