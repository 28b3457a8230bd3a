/** One server, a filled database that is made once, and copies of it that are used up. */
import { startPostgres, type TestServer } from '@battlescope/postgres-testing'
import pg from 'pg'
import { fillDatabase } from './generated-database.js'

export interface Copy {
  readonly url: string
  readonly client: pg.Client
  readonly name: string
  drop(): Promise<void>
}

export interface Databases {
  readonly server: Pick<TestServer, 'url' | 'major' | 'source'>
  readonly version: string
  copy(options?: { readonly battleIndex?: boolean }): Promise<Copy>
  close(): Promise<void>
}

/**
 * Durable, unlike the servers of tests: a commit costs what it costs. Memory as a small machine would give it, and no checkpoint while
 * something is measured, since it would hit one side or the other by chance.
 */
const serverSettings = {
  shared_buffers: '1GB',
  work_mem: '64MB',
  maintenance_work_mem: '256MB',
  max_wal_size: '16GB',
  checkpoint_timeout: '1d',
  // Statements of one database are logged when their length is measured: see statement-times.ts.
  logging_collector: 'on',
  log_destination: 'jsonlog',
}

/** `url`: of a server that somebody keeps; the filled database stays there for the next time. */
export async function openDatabases(killmails: number, url?: string): Promise<Databases> {
  const server =
    url === undefined
      ? await startPostgres({ durable: true, settings: serverSettings })
      : { url, major: 0, source: 'given' as const, stop: async () => undefined }
  const admin = await connect(server.url)
  const value = async (query: string) =>
    Object.values((await admin.query<Record<string, string>>(query)).rows[0] ?? {})[0]
  const version = (await value('SHOW server_version')) ?? ''
  // Its rows are as old as it says: one of yesterday has other rows that expired.
  const template = `retention_bench_${killmails}_${(await value(`SELECT to_char(now(), 'YYYYMMDD')`)) ?? ''}`
  const exists = (await value(`SELECT count(*)::text FROM pg_database WHERE datname = '${template}'`)) === '1'
  if (!exists) await makeTemplate(admin, server.url, template, killmails)
  let copies = 0
  return {
    server,
    version,
    async copy({ battleIndex = true } = {}) {
      const name = `retention_copy_${process.pid}_${(copies += 1)}`
      await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY file_copy`)
      const client = await connect(urlOf(server.url, name))
      if (!battleIndex) await client.query('DROP INDEX public.killmail_events_battle_id_idx')
      await client.query('CHECKPOINT')
      return {
        url: urlOf(server.url, name),
        client,
        name,
        async drop() {
          await client.end()
          await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
        },
      }
    },
    async close() {
      await admin.end()
      await server.stop()
    },
  }
}

async function makeTemplate(admin: pg.Client, serverUrl: string, name: string, killmails: number): Promise<void> {
  const draft = `${name}_draft`
  await admin.query(`DROP DATABASE IF EXISTS ${draft} WITH (FORCE)`)
  await admin.query(`CREATE DATABASE ${draft}`)
  const client = await connect(urlOf(serverUrl, draft))
  try {
    await fillDatabase(client, killmails)
  } finally {
    await client.end()
  }
  await admin.query(`ALTER DATABASE ${draft} RENAME TO ${name}`)
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'bench' })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

function urlOf(serverUrl: string, database: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${database}`
  return url.href
}
