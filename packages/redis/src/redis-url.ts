/** Connection strings of Redis: `redis[s]://user:password@host:port/number`, `redis[s]-cluster://host:port,host:port`. Pure. */
import { RedisError } from './redis-error.js'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface RedisTarget {
  readonly tls: boolean
  /** Asked for by the scheme. A cluster behind `redis://` is recognized by what the server says. */
  readonly cluster: boolean
  /** Several of a cluster, tried in order. */
  readonly addresses: readonly Address[]
  /** Default: `default`, Redis' own name for it. */
  readonly user: string
  readonly password: string | undefined
  readonly database: number
}

const defaultPort = 6379
const example = 'redis://user:password@host:6379/0'

/** @throws RedisError `redis-invalid-url`, which quotes nothing of the URL */
export function parseRedisUrl(text: string): RedisTarget {
  const refuse = (problem: string): never => {
    throw new RedisError('redis-invalid-url', `no connection string of Redis: ${problem}`, `write ${example}`)
  }
  const [, scheme = '', authority = '', path = '', query = ''] =
    /^([a-z+-]+):\/\/([^/?#]*)(\/[^?#]*)?(\?[^#]*)?$/i.exec(text.trim()) ?? []
  const kind = /^(rediss?)(-cluster)?$/i.exec(scheme)
  if (kind === null) {
    return refuse('it begins with none of redis://, rediss://, redis-cluster://, rediss-cluster://')
  }
  if (query !== '') return refuse('it has parameters after a question mark; set them as options')
  const at = authority.lastIndexOf('@')
  const credentials = at < 0 ? '' : authority.slice(0, at)
  const colon = credentials.indexOf(':')
  const user = colon < 0 ? credentials : credentials.slice(0, colon)
  const password = colon < 0 ? undefined : credentials.slice(colon + 1)
  const cluster = kind[2] !== undefined
  const hosts = authority.slice(at + 1).split(',')
  if (!cluster && hosts.length > 1) return refuse('several hosts need redis-cluster:// or rediss-cluster://')
  const number = path.replace(/^\/|\/$/g, '')
  if (!/^\d{0,4}$/.test(number)) return refuse('the path is no number of a database')
  if (cluster && Number(number) !== 0) return refuse('a cluster has database 0 alone')
  return {
    tls: kind[1]?.toLowerCase() === 'rediss',
    cluster,
    addresses: hosts.map((host) => parseAddress(host) ?? refuse('a host or port is wrong')),
    user: decode(user, refuse) || 'default',
    password: password === undefined ? undefined : decode(password, refuse),
    database: Number(number),
  }
}

function parseAddress(text: string): Address | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/i.exec(text) ?? []
  const host = bracketed ?? plain
  const number = port === undefined ? defaultPort : Number(port)
  return host === undefined || number < 1 || number > 65_535 ? undefined : { host, port: number }
}

function decode(text: string, refuse: (problem: string) => never): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return refuse('user or password has a % that begins no escape')
  }
}

/** Without user and password. */
export function locationOf({ tls, cluster, database }: RedisTarget, addresses: readonly Address[]): string {
  const hosts = addresses.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')
  return `redis${tls ? 's' : ''}${cluster ? '-cluster' : ''}://${hosts}${cluster ? '' : `/${database}`}`
}
