/** Databases and roles of one test file, on a shared server. */
import { createHash, randomBytes } from 'node:crypto'
import pg from 'pg'
import { ownApplicationName } from './open-connections.js'
import { sharedServer } from './shared-server.js'
import type { TestServer } from './test-server.js'

/** Made once per server, then cloned: a clone takes tens of milliseconds, whatever the schema. */
export interface DatabaseTemplate {
  readonly name: string
  /** SQL that fills the template, or a function that is given its URL. A function's template is known by its name alone. */
  readonly build: string | ((url: string) => Promise<void>)
}

export interface TestDatabaseOptions {
  /** Default: the shared server. */
  readonly server?: Pick<TestServer, 'url'>
  readonly template?: DatabaseTemplate
  /** A failed suite's database stays, and its URL is printed. Default: `false`. An embedded server takes it along when it ends. */
  readonly keepOnFailure?: boolean
}

export interface TestRoleOptions {
  /** Role attributes beside LOGIN, as in CREATE ROLE: `NOINHERIT`, `CONNECTION LIMIT 1`. */
  readonly attributes?: string
  /** Run as superuser in this database after the role was made; `$role` stands for its quoted name. */
  readonly grants?: string
}

export interface TestRole {
  readonly name: string
  readonly password: string
  /** The database, as this role. */
  readonly url: string
}

export interface TestDatabase {
  /** As superuser. */
  readonly url: string
  readonly name: string
  query<Row extends object = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<Row[]>
  /** A login role of this database; dropped with it. */
  createRole(options?: TestRoleOptions): Promise<TestRole>
  /** Drops the database and its roles, connections included. `failed` together with `keepOnFailure` keeps it. */
  drop(suite?: { readonly failed?: boolean }): Promise<void>
}

export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = options.server ?? (await sharedServer())
  const name = `test_${randomBytes(6).toString('hex')}`
  const template = options.template ? await ensureTemplate(server.url, options.template) : 'template1'
  await administer(server.url, (admin) => admin.query(`create database ${name} template ${template}`))
  return openTestDatabase(server.url, name, options.keepOnFailure ?? false)
}

/** A login role of the database; dropped with it. The same as `database.createRole`. */
export function createTestRole(database: TestDatabase, options?: TestRoleOptions): Promise<TestRole> {
  return database.createRole(options)
}

function openTestDatabase(serverUrl: string, name: string, keepOnFailure: boolean): TestDatabase {
  const url = withDatabase(serverUrl, name)
  const roles: string[] = []
  let connected: Promise<pg.Client> | undefined
  const query: TestDatabase['query'] = async <Row extends object>(sql: string, parameters?: unknown[]) => {
    connected ??= connect(url)
    const { rows } = await (await connected).query(sql, parameters)
    return rows as Row[]
  }
  return {
    url,
    name,
    query,
    async createRole({ attributes = '', grants = '' } = {}) {
      const role = `${name}_${roles.length + 1}`
      const password = randomBytes(8).toString('hex')
      roles.push(role)
      await query(`create role ${role} login ${attributes} password '${password}'`)
      if (grants !== '') await query(grants.replaceAll('$role', role))
      const roleUrl = new URL(url)
      roleUrl.username = role
      roleUrl.password = password
      return { name: role, password, url: roleUrl.href }
    },
    async drop({ failed = false } = {}) {
      const client = await connected?.catch(() => undefined)
      connected = undefined
      await client?.end()
      if (failed && keepOnFailure) {
        console.error(`kept the database of the failed suite: ${url}`)
        return
      }
      await administer(serverUrl, async (admin) => {
        await admin.query(`drop database if exists ${name} with (force)`)
        for (const role of roles.splice(0)) await admin.query(`drop role if exists ${role}`)
      })
    },
  }
}

/**
 * The name of the finished template. Workers that ask at the same time queue on an advisory lock of the server; the template is filled
 * under another name and renamed at the end, so that one whose making was interrupted is never taken for a finished one.
 */
async function ensureTemplate(serverUrl: string, { name, build }: DatabaseTemplate): Promise<string> {
  const version = createHash('sha256')
    .update(name)
    .update('\0')
    .update(typeof build === 'string' ? build : '')
    .digest('hex')
    .slice(0, 12)
  const template = `template_${name
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '_')
    .slice(0, 30)}_${version}`
  await administer(serverUrl, async (admin) => {
    await admin.query('select pg_advisory_lock(hashtextextended($1, 0))', [template])
    const existing = await admin.query('select from pg_database where datname = $1', [template])
    if (existing.rowCount) return
    const draft = `${template}_draft`
    await admin.query(`drop database if exists ${draft} with (force)`)
    await admin.query(`create database ${draft}`)
    const draftUrl = withDatabase(serverUrl, draft)
    if (typeof build === 'string') await administer(draftUrl, (client) => client.query(build))
    else await build(draftUrl)
    await admin.query(`alter database ${draft} rename to ${template}`)
  })
  return template
}

/** One connection for one purpose. Its end releases the advisory lock, too. */
async function administer(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = await connect(url)
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: ownApplicationName })
  // A backend ended by a test reports here; the next query says so, too.
  client.on('error', () => undefined)
  await client.connect()
  return client
}

function withDatabase(serverUrl: string, database: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${database}`
  return url.href
}
