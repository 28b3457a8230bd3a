/** Throw-away Redis servers on free ports of 127.0.0.1. They end with this process, however it ends, and their folders go with them. */
import { access, constants, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeCertificates, type Certificates } from './certificates.js'
import { startGuardedServer, type GuardedServer } from './guarded-server.js'
import { connectTestClient, type TestClient } from './test-client.js'

const places = ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin']

/** Where the program is; undefined where it is not installed. */
export async function findRedisServer(): Promise<string | undefined> {
  for (const place of places) {
    const path = join(place, 'redis-server')
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  return undefined
}

/** Empty where Redis is installed; else the end of the name of a suite that must be skipped. */
export async function missingRedisServer(): Promise<string> {
  return (await findRedisServer()) === undefined
    ? ' (skipped: redis-server is not installed; apt-get install redis-server)'
    : ''
}

export interface StartRedisOptions {
  /** Settings as `redis.conf` spells them: `{ 'maxmemory-policy': 'allkeys-lfu' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Rules of further users: `{ keeper: 'on >secret ~* +@all' }`. */
  readonly users?: Readonly<Record<string, string>>
  /** Of the user `default`. */
  readonly password?: string
  /** Speaks TLS alone, with a certificate of {@link TestRedis.certificates}. */
  readonly tls?: boolean
  /** Keeps the data over {@link TestRedis.restart}. */
  readonly persistent?: boolean
}

export interface TestRedis {
  readonly url: string
  readonly port: number
  /** With `tls: true`. */
  readonly certificates: Certificates | undefined
  /** A new client of the user `default`. Closed by {@link stop}. */
  client(database?: number): Promise<TestClient>
  /** The URL with another database or user. */
  urlOf(part: { readonly database?: number; readonly user?: string; readonly password?: string }): string
  /** Ends the server and starts it again on the same port. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** @throws when Redis is not installed: ask {@link missingRedisServer} first */
export async function startRedis(options: StartRedisOptions = {}): Promise<TestRedis> {
  const program = await findRedisServer()
  if (program === undefined) throw new Error('redis-server is not installed; on Debian: apt-get install redis-server')
  const folder = await mkdtemp(join(tmpdir(), 'redis-testing-'))
  const certificates = options.tls === true ? await makeCertificates(folder) : undefined
  const clients = new Set<TestClient>()
  let server: { readonly guarded: GuardedServer; readonly port: number } | undefined
  // The guard removes the folder at the server's end unless this file is there: a restart, or a second attempt to start, needs it.
  const keep = join(folder, 'keep')
  const start = async (port?: number) => {
    await writeFile(keep, '')
    server = await startOn(program, folder, options, certificates, port)
    await rm(keep)
    return server
  }
  const { port } = await start()
  const ca = certificates === undefined ? undefined : await readFile(certificates.ca, 'utf8')
  const stop = async () => {
    for (const client of clients) client.close()
    await server?.guarded.stop()
  }
  const urlOf: TestRedis['urlOf'] = ({ database = 0, user, password = options.password }) => {
    const credentials =
      password === undefined ? '' : `${encodeURIComponent(user ?? '')}:${encodeURIComponent(password)}@`
    return `redis${options.tls === true ? 's' : ''}://${credentials}127.0.0.1:${port}/${database}`
  }
  return {
    url: urlOf({}),
    port,
    certificates,
    urlOf,
    async client(database = 0) {
      const client = await connectTestClient({
        port,
        database,
        ...(options.password === undefined ? {} : { password: options.password }),
        ...(ca === undefined ? {} : { ca }),
      })
      clients.add(client)
      return client
    },
    async restart() {
      const saving = options.persistent === true ? await connectTestClient({ port }) : undefined
      await saving?.call('SAVE')
      saving?.close()
      await writeFile(keep, '')
      await stop()
      clients.clear()
      await start(port)
    },
    stop,
  }
}

async function startOn(
  program: string,
  folder: string,
  options: StartRedisOptions,
  certificates: Certificates | undefined,
  fixedPort: number | undefined,
): Promise<{ readonly guarded: GuardedServer; readonly port: number }> {
  // Somebody else may take the port before the server does.
  for (let attempt = 1; ; attempt += 1) {
    const port = fixedPort ?? (await findFreePort())
    await writeFile(join(folder, 'redis.conf'), configuration(folder, port, options, certificates))
    const guarded = startGuardedServer(folder, [program, join(folder, 'redis.conf')])
    const problem = await waitUntilReady(guarded, port)
    if (problem === undefined) return { guarded, port }
    if (attempt === 5) throw new Error(`redis-server did not start:\n${problem}`)
  }
}

function configuration(
  folder: string,
  port: number,
  { settings = {}, users = {}, password, tls = false }: StartRedisOptions,
  certificates: Certificates | undefined,
): string {
  const lines = [
    'bind 127.0.0.1',
    `dir ${folder}`,
    'save ""',
    'appendonly no',
    'enable-debug-command yes',
    tls ? 'port 0' : `port ${port}`,
    ...(certificates === undefined
      ? []
      : [
          `tls-port ${port}`,
          `tls-cert-file ${certificates.certificate}`,
          `tls-key-file ${certificates.key}`,
          `tls-ca-cert-file ${certificates.ca}`,
          'tls-auth-clients no',
        ]),
    ...(password === undefined ? [] : [`requirepass ${password}`]),
    ...Object.entries(users).map(([name, rules]) => `user ${name} ${rules}`),
    ...Object.entries(settings).map(([name, value]) => `${name} ${value}`),
  ]
  return `${lines.join('\n')}\n`
}

/** The server's last words when it ended instead. */
async function waitUntilReady(guarded: GuardedServer, port: number): Promise<string | undefined> {
  let log: string | undefined
  void guarded.ended.then((ended) => (log = ended.log || 'no output'))
  for (;;) {
    if (log !== undefined) return log
    if (await accepts(port)) return undefined
    await sleep(10)
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function findFreePort(): Promise<number> {
  for (;;) {
    const probe = createServer()
    probe.listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    probe.close()
    await once(probe, 'close')
    // A cluster's bus listens 10000 above.
    if (port <= 55_000) return port
  }
}

export interface TestRedisCluster {
  readonly url: string
  readonly masters: readonly TestRedis[]
  stop(): Promise<void>
}

/** Three masters without replicas that share the slots. */
export async function startRedisCluster(options: Omit<StartRedisOptions, 'tls'> = {}): Promise<TestRedisCluster> {
  const settings = { ...options.settings, 'cluster-enabled': 'yes', 'cluster-config-file': 'nodes.conf' }
  const masters = await Promise.all(Array.from({ length: 3 }, () => startRedis({ ...options, settings })))
  const clients = await Promise.all(masters.map((master) => master.client()))
  const share = Math.ceil(16_384 / masters.length)
  for (const [index, client] of clients.entries()) {
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
    await client.call('CLUSTER', 'ADDSLOTSRANGE', index * share, Math.min(16_383, (index + 1) * share - 1))
    if (index > 0) await clients[0]?.call('CLUSTER', 'MEET', '127.0.0.1', masters[index]?.port ?? 0)
  }
  for (const client of clients) {
    while (!String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) await sleep(20)
    while (((await client.call('CLUSTER', 'SLOTS')) as unknown[]).length < masters.length) await sleep(20)
  }
  const [first] = masters
  return {
    url: `redis-cluster://127.0.0.1:${first?.port ?? 0}`,
    masters,
    async stop() {
      await Promise.all(masters.map((master) => master.stop()))
    },
  }
}
