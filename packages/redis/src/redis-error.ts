/** What went wrong with Redis, judged by the codes of its protocol and of the network. Never holds a credential. */

export type RedisErrorCode =
  | 'redis-invalid-url'
  | 'redis-not-configured'
  | 'redis-unavailable'
  | 'redis-timeout'
  | 'redis-tls'
  | 'redis-auth'
  | 'redis-permission'
  | 'redis-replica'
  | 'redis-unsupported'
  | 'redis-busy'
  | 'redis-memory'
  | 'redis-wrong-type'
  | 'redis-moved'
  | 'redis-failed'

export class RedisError extends Error {
  override readonly name = 'RedisError'
  readonly code: RedisErrorCode
  readonly hint: string | undefined
  /** There is no `cause`: the driver's errors carry the command with its arguments, AUTH included. */
  constructor(code: RedisErrorCode, message: string, hint?: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

interface Meaning {
  readonly code: RedisErrorCode
  readonly hint?: string
}

/** The first word of an error reply: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors */
const replies: Readonly<Record<string, Meaning>> = {
  NOAUTH: { code: 'redis-auth', hint: 'the server wants a password: redis://user:password@host' },
  WRONGPASS: { code: 'redis-auth', hint: 'check user and password in the URL; special characters must be escaped' },
  READONLY: { code: 'redis-replica', hint: 'the URL must name a master' },
  LOADING: { code: 'redis-busy', hint: 'the server is loading its data; the next run tries again' },
  BUSY: { code: 'redis-busy', hint: 'a script is blocking the server' },
  CLUSTERDOWN: { code: 'redis-busy', hint: 'the cluster does not serve all of its slots' },
  TRYAGAIN: { code: 'redis-busy' },
  MASTERDOWN: { code: 'redis-busy' },
  OOM: { code: 'redis-memory', hint: 'the server is at maxmemory and may not evict' },
  MISCONF: { code: 'redis-failed', hint: 'the server refuses writes because it cannot save its data' },
  WRONGTYPE: { code: 'redis-wrong-type' },
  MOVED: { code: 'redis-moved' },
  ASK: { code: 'redis-moved' },
  CROSSSLOT: { code: 'redis-failed' },
}

const network: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'its name is unknown',
  EAI_AGAIN: 'its name cannot be looked up at the moment',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to it',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
}

export interface Where {
  /** Without secrets. */
  readonly location: string
  readonly user: string
}

/** A connection was closed because its signal aborted: whoever waits gets the signal's reason. */
export class LinkAborted extends Error {
  override readonly name = 'LinkAborted'
  readonly reason: Error
  constructor(reason: unknown) {
    super('aborted')
    this.reason = reason instanceof Error ? reason : new Error(String(reason))
  }
}

/** Anything that a connection throws, as ours. `command` is its name, such as `memory usage`. */
export function explain(error: unknown, where: Where, command?: string): Error {
  if (error instanceof LinkAborted) return error.reason
  return explainDriver(error, where, command)
}

/** The same of an error reply. */
export function explainDriver(error: unknown, where: Where, command?: string): RedisError {
  if (error instanceof RedisError) return error
  const { message = String(error), code, name } = (error ?? {}) as { message?: string; code?: string; name?: string }
  const what = command === undefined ? where.location : `${where.location}: ${command.toUpperCase()}`
  if (name === 'ReplyError') return explainReply(message, where, what, command)
  if (code !== undefined && (isTlsCode(code) || /ssl|tls/i.test(code))) {
    return new RedisError('redis-tls', `${where.location}: no trusted TLS connection (${code})`, tlsHint(code))
  }
  if (code === 'ETIMEDOUT' || /timed out|ETIMEDOUT/.test(message)) {
    return new RedisError('redis-timeout', `${what}: no answer in time`)
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new RedisError('redis-tls', `${where.location}: the certificate is for another name`)
  }
  const why = code === undefined ? undefined : (network[code] ?? code)
  return new RedisError(
    'redis-unavailable',
    `${what}: ${why === undefined ? 'the connection ended' : why}`,
    'is the server running, and may we reach it?',
  )
}

function explainReply(message: string, where: Where, what: string, command: string | undefined): RedisError {
  const word = /^[A-Z]+/.exec(message)?.[0] ?? ''
  if (word === 'NOPERM') return missingRight(message, where, what, command)
  const known = replies[word]
  if (known !== undefined) return new RedisError(known.code, `${what}: ${message}`, known.hint)
  if (/^ERR (unknown command|unknown subcommand|Unsupported option|syntax error|wrong number)/i.test(message)) {
    return new RedisError('redis-unsupported', `${what}: ${firstSentence(message)}`, 'Redis 7 or newer is needed')
  }
  return new RedisError('redis-failed', `${what}: ${firstSentence(message)}`)
}

/** Says which right is missing, and how to give it. Redis names the command (`memory|usage`), never the key. */
function missingRight(message: string, where: Where, what: string, command: string | undefined): RedisError {
  const named = /'([^']+)' command/.exec(message)?.[1]
  if (named !== undefined) {
    const right = `+${named.toLowerCase()}`
    return new RedisError(
      'redis-permission',
      `${where.location}: user '${where.user}' may not run ${named.toUpperCase().replace('|', ' ')}: the right ${right} is missing`,
      `ACL SETUSER ${where.user} ${right}`,
    )
  }
  return new RedisError(
    'redis-permission',
    `${what}: user '${where.user}' may not touch a key that ${command === undefined ? 'it' : command.toUpperCase()} names: a key pattern is missing`,
    `ACL SETUSER ${where.user} ~PATTERN, for each namespace that is looked after`,
  )
}

function isTlsCode(code: string): boolean {
  // Node's codes for certificates: https://nodejs.org/api/tls.html#x509-certificate-error-codes
  return /CERT|SELF_SIGNED|UNABLE_TO|CRL|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|EPROTO/.test(code)
}

function tlsHint(code: string): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return 'the certificate is for another name than the host of the URL; set the server name'
  return /SELF_SIGNED|UNABLE_TO|ISSUER/.test(code)
    ? 'give the authority that signed its certificate as a CA file'
    : 'does the server speak TLS on this port?'
}

/** Error replies may quote arguments, which may be secret, after their first clause. */
function firstSentence(message: string): string {
  return message.split(/, with args|: /)[0] ?? message
}
