/** A database like BattleScope's: one owner role that all services share, and its tables. */
import { randomBytes } from 'node:crypto'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import pg from 'pg'

/** Connection strings of the role `battlescope`, which is no superuser. */
export interface Databases {
  readonly url: string
  /** Nothing is in it: to restore into. */
  readonly emptyUrl: string
}

/** Makes the role and the database `battlescope`, and an empty database beside it. */
export async function createBattlescopeDatabase(superuserUrl: string): Promise<Databases> {
  const password = randomBytes(9).toString('hex')
  const superuser = await connect(superuserUrl)
  try {
    await superuser.query(`create role battlescope login password '${password}'`)
    await superuser.query('create database battlescope owner battlescope')
    await superuser.query('create database battlescope_restored owner battlescope')
  } finally {
    await superuser.end()
  }
  const url = new URL(superuserUrl)
  url.username = 'battlescope'
  url.password = password
  url.pathname = '/battlescope'
  const owner = await connect(url.href)
  try {
    await owner.query(battlescopeDdl)
  } finally {
    await owner.end()
  }
  const emptyUrl = new URL(url)
  emptyUrl.pathname = '/battlescope_restored'
  return { url: url.href, emptyUrl: emptyUrl.href }
}

export async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'battlescope-demo' })
  // Reported by the query that it breaks. Without a listener, the server's end would be an uncaught exception.
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** Database time, to the millisecond. */
export async function selectNowMs(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ now: Date }>('select now() as now')
  return rows[0]?.now.getTime() ?? 0
}

export async function setAutovacuum(client: pg.Client, wanted: boolean): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind = 'r'`,
  )
  for (const { name } of rows) {
    await client.query(
      `alter table ${name} ${wanted ? 'reset (autovacuum_enabled)' : 'set (autovacuum_enabled = off)'}`,
    )
  }
}
