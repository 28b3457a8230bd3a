/** A real standby that stops replaying. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chown, cp, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { startPostgres, type TestServer } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { replicationLag } from '../../src/database/replication.js'
import { vacuumHorizon } from '../../src/database/vacuuming.js'
import { look, openSession, type Client } from './look.js'

describe.each([15, 17] as const)('a standby of PostgreSQL %i', (major) => {
  let primary: TestServer
  let admin: Client
  let standbyUrl: string
  let child: ChildProcess | undefined
  let folder: string

  beforeAll(async () => {
    // Of a server that was given by URL no files can be copied.
    primary = await startPostgres({ major, settings: { wal_level: 'replica' } })
    admin = await openSession(primary.url)
  })
  afterAll(async () => {
    child?.kill('SIGQUIT')
    await admin.end()
    await primary.stop()
  })

  it('is found when it is behind, and named when its queries hold back VACUUM', async (context) => {
    const { dataDir } = primary
    if (dataDir === undefined) return context.skip('the server runs in a container; TEST_POSTGRES=embedded')
    folder = join(dirname(dataDir), 'standby')
    const port = await startStandby(dataDir)
    standbyUrl = primary.url.replace(/:\d+\//, `:${port}/`)
    await answer(`SELECT count(*) = 1 AS so FROM pg_stat_replication WHERE state = 'streaming'`)
    await answer('SELECT pg_current_wal_lsn() = replay_lsn AS so FROM pg_stat_replication')
    expect((await look(replicationLag, { url: primary.url, options: { wal: 1_000_000 } })).found).toEqual([])

    const standby = await openSession(standbyUrl)
    await standby.query('SELECT pg_wal_replay_pause()')
    for (;;) {
      const { rows } = await standby.query<{ state: string }>('SELECT pg_get_wal_replay_pause_state() AS state')
      if (rows[0]?.state === 'paused') break
    }
    await admin.query(`SELECT pg_logical_emit_message(false, 'x', repeat('x', 3000000))`)
    await answer('SELECT pg_current_wal_lsn() = flush_lsn AS so FROM pg_stat_replication')
    const { found } = await look(replicationLag, { url: primary.url, options: { wal: 1_000_000 } })
    expect(found).toMatchObject([{ subject: 'second' }])
    expect(found[0]?.summary).toMatch(/^standby second is behind by [2-9](\.\d)? MiB of WAL/)
    await standby.query('SELECT pg_wal_replay_resume()')

    await standby.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')
    await answer('SELECT backend_xmin IS NOT NULL AS so FROM pg_stat_replication')
    await admin.query('CREATE TABLE public.t (id int)')
    const horizon = await look(vacuumHorizon, { url: primary.url, options: { age: 1 } })
    expect(horizon.found[0]?.summary).toContain('the standby second (hot_standby_feedback) still sees it')
    await standby.end()
  })

  /** Until the primary says so. */
  async function answer(sql: string): Promise<void> {
    for (;;) if ((await admin.query<{ so: boolean }>(sql)).rows[0]?.so === true) return
  }

  /** A copy of the files between pg_backup_start and pg_backup_stop is a base backup. */
  async function startStandby(dataDir: string): Promise<number> {
    const { uid, gid } = await stat(dataDir)
    await admin.query(`SELECT pg_backup_start('standby', true)`)
    await mkdir(folder, { mode: 0o700 })
    await cp(dataDir, folder, {
      recursive: true,
      filter: (path) => !/postmaster\.(pid|opts)$/.test(path),
    })
    const { rows } = await admin.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)')
    await writeFile(join(folder, 'backup_label'), rows[0]?.labelfile ?? '')
    await writeFile(join(folder, 'standby.signal'), '')
    await giveTo(folder, uid, gid)
    const port = await freePort()
    const { hostname, port: primaryPort, password } = new URL(primary.url)
    const conninfo = `host=${hostname} port=${primaryPort} user=postgres password=${password} application_name=second`
    const settings = {
      port,
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: 200,
      hot_standby_feedback: 'on',
      wal_receiver_status_interval: 1,
      primary_conninfo: conninfo,
      fsync: 'off',
    }
    const config = await admin.query<{ setting: string }>(`SELECT setting FROM pg_config WHERE name = 'BINDIR'`)
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    child = spawn(join(config.rows[0]?.setting ?? '', 'postgres'), ['-D', folder, ...args], {
      stdio: 'ignore',
      ...(process.getuid?.() === 0 ? { uid, gid } : {}),
    })
    return port
  }

  async function giveTo(path: string, uid: number, gid: number): Promise<void> {
    await chown(path, uid, gid)
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const inside = join(path, entry.name)
      if (entry.isDirectory()) await giveTo(inside, uid, gid)
      else await chown(inside, uid, gid)
    }
  }
})

async function freePort(): Promise<number> {
  const listener = createServer()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  await new Promise((resolve) => listener.close(resolve))
  return port
}
