/** A throw-away PgBouncer in transaction mode before a test server. */
import { access, constants, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { findFreePort } from './free-port.js'
import { startGuarded } from './guarded-process.js'
import { makeServerFolder, selectUnprivilegedUser } from './server-folder.js'

const places = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/usr/local/bin/pgbouncer', '/opt/homebrew/bin/pgbouncer']

/** The path of PgBouncer's program; undefined where it is not installed. Debian: `apt-get install pgbouncer`. */
export async function findPgBouncer(): Promise<string | undefined> {
  for (const path of places) {
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  return undefined
}

export interface PgBouncerOptions {
  readonly poolMode?: 'transaction' | 'session'
  /** Server connections per database and user. Default: 2, so that clients soon share them. */
  readonly poolSize?: number
  /** More lines for the section `[pgbouncer]`. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface PgBouncer {
  /** The same user and database as the given URL, through the pool. */
  readonly url: string
  /** The given URL of another database or role of the same server, through the pool. */
  through(serverUrl: string): string
  stop(): Promise<void>
}

/**
 * Starts PgBouncer before the server of `serverUrl` (a superuser's URL: passwords of other roles are looked up through it). It ends with
 * this process. @throws when PgBouncer is not installed: ask {@link findPgBouncer} first.
 */
export async function startPgBouncer(serverUrl: string, options: PgBouncerOptions = {}): Promise<PgBouncer> {
  const program = await findPgBouncer()
  if (program === undefined) throw new Error('PgBouncer is not installed; on Debian: apt-get install pgbouncer')
  const server = new URL(serverUrl)
  const superuser = decodeURIComponent(server.username)
  const user = await selectUnprivilegedUser()
  const folder = await makeServerFolder('pgbouncer-testing-', user)
  const port = await findFreePort()
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: folder,
    auth_type: 'scram-sha-256',
    auth_file: join(folder, 'users.txt'),
    auth_user: superuser,
    admin_users: superuser,
    pool_mode: options.poolMode ?? 'transaction',
    default_pool_size: String(options.poolSize ?? 2),
    max_client_conn: '200',
    ...options.settings,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  const databases = `* = host=${server.hostname} port=${server.port || '5432'}`
  const guarded = startGuarded({
    folder,
    ...(user && { user }),
    // Immediate shutdown: https://www.pgbouncer.org/usage.html#signals
    stopSignal: 'TERM',
    command: [program, join(folder, 'pgbouncer.ini')],
  })
  await writeFile(join(folder, 'pgbouncer.ini'), `[databases]\n${databases}\n[pgbouncer]\n${lines.join('\n')}\n`)
  await writeFile(join(folder, 'users.txt'), `"${superuser}" "${decodeURIComponent(server.password)}"\n`)
  guarded.begin()
  const through = (url: string): string => {
    const pooled = new URL(url)
    pooled.hostname = '127.0.0.1'
    pooled.port = String(port)
    return pooled.href
  }
  const url = through(serverUrl)
  let endedLog: string | undefined
  void guarded.ended.then(({ log }) => (endedLog = log || 'no output'))
  while (!(await answers(url))) {
    if (endedLog !== undefined) throw new Error(`PgBouncer did not start:\n${endedLog}`)
    await sleep(20)
  }
  return { url, through, stop: () => guarded.stop() }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}
