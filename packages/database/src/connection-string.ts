/**
 * Connection strings as libpq reads them. `pg` gives `sslmode` a meaning of its own, so it never sees the string, only the parsed
 * fields. No message quotes the password, nor any text that could be a part of it.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
import { userInfo } from 'node:os'
import { DatabaseError } from './database-error.js'

export const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof sslModes)[number]

export interface ConnectionTarget {
  /** Host name or address; a path is the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  readonly tls: TlsSettings
  /** Milliseconds; undefined when the string says nothing. */
  readonly connectTimeoutMs: number | undefined
  readonly applicationName: string | undefined
  /** Parameters that libpq knows, or nobody, and that have no effect here. */
  readonly ignoredParameters: readonly string[]
}

export interface TlsSettings {
  readonly mode: SslMode
  /** Path of the file of trusted roots; `system` for those that come with Node. */
  readonly rootCertificate: string | undefined
  readonly certificate: string | undefined
  readonly key: string | undefined
}

/** Every problem of a connection string at once. */
export class ConnectionStringError extends DatabaseError {
  override readonly name = 'ConnectionStringError'
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super('connection-string', `the connection string is wrong: ${problems.join('; ')}`, {
      hint: 'postgresql://user:password@host:5432/database?sslmode=require',
    })
    this.problems = problems
  }
}

const encodeHint = "characters like @ : / ? # % in user and password must be percent-encoded ('@' is %40, '/' is %2F)"

/** @throws ConnectionStringError */
export function parseConnectionString(given: string): ConnectionTarget {
  // A mounted secret often ends in a newline.
  const text = given.trim()
  const problems: string[] = []
  const scheme = findSchemeProblem(text)
  if (scheme !== undefined) throw new ConnectionStringError([scheme])

  const afterScheme = text.slice(text.indexOf('://') + 3)
  const questionMark = afterScheme.indexOf('?')
  const beforeQuery = questionMark === -1 ? afterScheme : afterScheme.slice(0, questionMark)
  const slash = beforeQuery.indexOf('/')
  const authority = slash === -1 ? beforeQuery : beforeQuery.slice(0, slash)
  const path = slash === -1 ? '' : beforeQuery.slice(slash + 1)
  const decode = (part: string, name: string): string => decodePart(part, name, problems)
  const parameters = parseParameters(questionMark === -1 ? '' : afterScheme.slice(questionMark + 1), problems)
  const take = (name: string): string | undefined => {
    const value = parameters.get(name)
    parameters.delete(name)
    return value === '' ? undefined : value
  }

  if (/\s/.test(text)) problems.push('it contains white space')
  const at = authority.lastIndexOf('@')
  // Past a stray '@' or '/' everything is guesswork, and a guess could print a piece of the password.
  const torn = afterScheme.split('@').length > 2 || (at === -1 && afterScheme.includes('@'))
  if (torn)
    problems.push(`user, password and host cannot be told apart, because only one '@' may stand in it: ${encodeHint}`)
  const credentials = at === -1 ? '' : authority.slice(0, at)
  const colon = credentials.indexOf(':')
  const user = decode(colon === -1 ? credentials : credentials.slice(0, colon), 'user')
  const password = colon === -1 ? undefined : decode(credentials.slice(colon + 1), 'password')
  const { host, port } = torn ? { host: '', port: undefined } : splitHost(authority.slice(at + 1), decode, problems)

  const tls = parseTls(take, problems)
  const chosenHost = take('hostaddr') ?? take('host') ?? host
  parameters.delete('host')
  if (chosenHost === '' && !torn)
    problems.push('it names no host (for a local server write localhost, or ?host=/var/run/postgresql)')
  if (chosenHost.includes(',')) problems.push('it names several hosts: name one, or a proxy that knows the primary')
  const chosenUser = take('user') || user || userInfo().username
  const chosenPassword = take('password') ?? password
  const target: ConnectionTarget = {
    host: chosenHost,
    port: parsePort(take('port') ?? port, problems),
    user: chosenUser,
    password: chosenPassword === '' ? undefined : chosenPassword,
    database: take('dbname') ?? (torn || path === '' ? chosenUser : decode(path, 'database')),
    tls,
    connectTimeoutMs: parseConnectTimeout(take('connect_timeout'), problems),
    applicationName: take('application_name'),
    ignoredParameters: refuseOptions(parameters, problems),
  }
  if (problems.length > 0) throw new ConnectionStringError(problems)
  return target
}

function findSchemeProblem(text: string): string | undefined {
  if (text === '') return 'it is empty'
  if (/^postgres(ql)?:\/\//.test(text)) return undefined
  if (/^['"]/.test(text)) return 'it begins with a quotation mark: remove the quotes around it'
  if (/^\s*[a-z_]+\s*=/.test(text)) return 'it is a list of key=value pairs: write it as a URL, postgresql://…'
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]
  if (scheme === undefined) return 'it does not begin with postgresql:// or postgres://'
  if (/^postgres(ql)?$/i.test(scheme)) return 'its scheme must be in lower case: postgresql://'
  return `its scheme is ${scheme}://, but only postgresql:// and postgres:// are known`
}

function decodePart(part: string, name: string, problems: string[]): string {
  let decoded = ''
  try {
    decoded = decodeURIComponent(part)
  } catch {
    problems.push(`the ${name} has a '%' that is not followed by two hexadecimal digits of UTF-8: ${encodeHint}`)
  }
  if (decoded.includes('\0')) problems.push(`the ${name} contains a NUL character`)
  return decoded
}

function parseParameters(query: string, problems: string[]): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const pair of query.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decodePart(equals === -1 ? pair : pair.slice(0, equals), 'name of a parameter', problems)
    const value = equals === -1 ? '' : decodePart(pair.slice(equals + 1), 'value of a parameter', problems)
    parameters.set(name, value)
  }
  return parameters
}

function splitHost(
  text: string,
  decode: (part: string, name: string) => string,
  problems: string[],
): { host: string; port: string | undefined } {
  const bracketed = /^\[([0-9A-Fa-f:.%]+)\](?::(.*))?$/.exec(text)
  if (bracketed) return { host: bracketed[1] ?? '', port: bracketed[2] || undefined }
  if (text.startsWith('[') || text.split(':').length > 2) {
    if (text.includes(',')) return { host: text, port: undefined }
    problems.push(`the host cannot be read: an IPv6 address stands in brackets, and ${encodeHint}`)
    return { host: 'unreadable', port: undefined }
  }
  const [host = '', port] = text.split(':')
  return { host: decode(host, 'host'), port: port || undefined }
}

function parsePort(text: string | undefined, problems: string[]): number {
  if (text === undefined) return 5432
  const port = Number(text)
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port
  // A password with an unencoded slash ends up here: digits alone are safe to show.
  problems.push(
    /^\d+$/.test(text)
      ? `the port ${text} is not between 1 and 65535`
      : `the port is not a number; if this is a part of the password: ${encodeHint}`,
  )
  return 5432
}

function parseTls(take: (name: string) => string | undefined, problems: string[]): TlsSettings {
  const rootCertificate = take('sslrootcert')
  const given = take('sslmode') ?? (take('ssl') === 'true' ? 'require' : undefined)
  // libpq: with `sslrootcert=system` the default is verify-full, and everything weaker is refused.
  const mode = given ?? (rootCertificate === 'system' ? 'verify-full' : 'prefer')
  const certificate = take('sslcert')
  const key = take('sslkey')
  if (!(sslModes as readonly string[]).includes(mode)) {
    problems.push(`sslmode is none of ${sslModes.join(', ')}`)
  } else if (rootCertificate === 'system' && mode !== 'verify-full') {
    problems.push(`sslmode=${mode} is too weak for sslrootcert=system: use verify-full`)
  } else if (mode === 'verify-ca' && rootCertificate === undefined) {
    problems.push('sslmode=verify-ca needs sslrootcert: any public authority would do otherwise; or use verify-full')
  }
  if ((certificate === undefined) !== (key === undefined)) problems.push('sslcert and sslkey need each other')
  return { mode: mode as SslMode, rootCertificate, certificate, key }
}

/** Whole seconds; 0 and less mean "no limit" to libpq, and our default here: nothing waits for ever. */
function parseConnectTimeout(text: string | undefined, problems: string[]): number | undefined {
  if (text === undefined) return undefined
  if (!/^-?\d{1,6}$/.test(text)) {
    problems.push('connect_timeout is not a whole number of seconds')
    return undefined
  }
  return Number(text) > 0 ? Number(text) * 1000 : undefined
}

function refuseOptions(parameters: ReadonlyMap<string, string>, problems: string[]): readonly string[] {
  if (parameters.has('options')) {
    problems.push('options=… is refused by poolers: set it for the role instead (ALTER ROLE … SET …)')
  }
  return [...parameters.keys()].filter((name) => name !== 'options')
}
