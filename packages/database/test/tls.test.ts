import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { ConnectionOptions, PeerCertificate } from 'node:tls'
import { promisify } from 'node:util'
import {
  createTestDatabase,
  leakCheck,
  startPostgres,
  type TestDatabase,
  type TestServer,
} from '@battlescope/postgres-testing'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectionProblem, openConnections, parseConnectionString } from '../src/index.js'
import { planTlsAttempts, type TlsAttempt } from '../src/tls.js'

const run = promisify(execFile)
const openssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
)

describe('sslmode', () => {
  const plan = async (parameters: string, host = 'db.example'): Promise<readonly TlsAttempt[]> =>
    planTlsAttempts(parseConnectionString(`postgresql://${host}/db${parameters}`))
  const certificate = {
    subject: { CN: 'other.example' },
    subjectaltname: 'DNS:other.example',
  } as unknown as PeerCertificate

  it('means what libpq means', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tls-test-'))
    const root = join(folder, 'root.pem')
    await writeFile(root, 'a certificate')
    expect(await plan('?sslmode=disable')).toEqual([false])
    for (const mode of ['', '?sslmode=allow', '?sslmode=prefer'])
      expect(await plan(mode)).toEqual([{ rejectUnauthorized: false }, false])
    expect(await plan('?sslmode=require')).toEqual([{ rejectUnauthorized: false }])
    for (const mode of ['require', 'verify-ca']) {
      const [only, ...more] = (await plan(`?sslmode=${mode}&sslrootcert=${root}`)) as readonly ConnectionOptions[]
      expect(more).toEqual([])
      expect(only).toMatchObject({ rejectUnauthorized: true, ca: Buffer.from('a certificate') })
      expect(only?.checkServerIdentity?.('db.example', certificate)).toBeUndefined()
    }
    for (const parameters of [
      `?sslmode=verify-full&sslrootcert=${root}`,
      '?sslrootcert=system',
      '?sslmode=verify-full',
    ]) {
      const [only, ...more] = (await plan(parameters)) as readonly ConnectionOptions[]
      expect(more).toEqual([])
      expect(only).toMatchObject({ rejectUnauthorized: true })
      expect(only?.checkServerIdentity?.('ignored', certificate)).toMatchObject({
        code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      })
      expect(
        only?.checkServerIdentity?.('ignored', { ...certificate, subjectaltname: 'DNS:db.example' }),
      ).toBeUndefined()
    }
    expect(await plan('?host=/var/run/postgresql&sslmode=require')).toEqual([false])
    await rm(folder, { recursive: true })
  })

  it('names the file that cannot be read', async () => {
    await expect(plan('?sslmode=verify-full&sslrootcert=/nowhere/ca.pem')).rejects.toMatchObject({
      code: 'tls-files',
      message: 'cannot read the file of sslrootcert: /nowhere/ca.pem (ENOENT)',
    })
  })
})

describe.skipIf(!openssl)('a server with TLS (skipped without openssl)', () => {
  let folder: string
  let server: TestServer
  let database: TestDatabase
  const unit = { statementTimeoutMs: 10_000 }

  const file = (name: string): string => join(folder, name)

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tls-test-'))
    const selfSigned = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2']
    await run('openssl', [
      ...selfSigned,
      '-keyout',
      file('ca.key'),
      '-out',
      file('ca.pem'),
      '-subj',
      '/CN=test authority',
    ])
    await run('openssl', [
      ...selfSigned,
      '-keyout',
      file('other.key'),
      '-out',
      file('other.pem'),
      '-subj',
      '/CN=other authority',
    ])
    await writeFile(file('san.cnf'), 'subjectAltName=DNS:localhost\n')
    await run('openssl', [
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      file('server.key'),
      '-out',
      file('server.csr'),
      '-subj',
      '/CN=localhost',
    ])
    await run('openssl', [
      'x509',
      '-req',
      '-in',
      file('server.csr'),
      '-CA',
      file('ca.pem'),
      '-CAkey',
      file('ca.key'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      file('san.cnf'),
      '-out',
      file('server.pem'),
    ])
    server = await startPostgres({ settings: { max_connections: '20' } })
    database = await createTestDatabase({ server })
    // The server reads its files as its own user, from its own folder, so they are written by the server itself.
    for (const name of ['server.key', 'server.pem']) {
      const content = await readFile(file(name), 'utf8')
      await database.query(`create temporary table lines (n serial, line text)`)
      await database.query(`insert into lines (line) select regexp_split_to_table($1, '\\n')`, [content.trim()])
      await database.query(`copy (select line from lines order by n) to program 'umask 077; cat > ${name}'`)
      await database.query('drop table lines')
    }
    for (const [name, value] of [
      ['ssl_cert_file', 'server.pem'],
      ['ssl_key_file', 'server.key'],
    ] as const) {
      await database.query(`alter system set ${name} = '${value}'`)
    }
  })

  afterAll(async () => {
    await database.drop()
    await server.stop()
    await rm(folder, { recursive: true })
  })

  const withTls = (parameters: string, host = 'localhost'): string => {
    const url = new URL(database.url)
    url.hostname = host
    url.search = parameters
    return url.href
  }

  const probe = async (url: string): Promise<boolean> => {
    const connections = openConnections({ url, applicationName: 'tls-test' })
    try {
      return (await connections.probe()).encrypted
    } finally {
      await connections.close()
    }
  }

  it('is used, verified and refused as sslmode says', async () => {
    await expect(probe(withTls('?sslmode=require'))).rejects.toMatchObject({ code: 'tls-refused' })
    expect(await probe(withTls('?sslmode=prefer'))).toBe(false)
    await turnTlsOn()

    expect(await probe(withTls('?sslmode=disable'))).toBe(false)
    for (const mode of ['allow', 'prefer', 'require']) expect(await probe(withTls(`?sslmode=${mode}`))).toBe(true)
    expect(await probe(withTls(`?sslmode=verify-full&sslrootcert=${file('ca.pem')}`))).toBe(true)
    expect(await probe(withTls(`?sslmode=verify-ca&sslrootcert=${file('ca.pem')}`, '127.0.0.1'))).toBe(true)
    const problems: [string, string][] = [
      [withTls(`?sslmode=verify-full&sslrootcert=${file('ca.pem')}`, '127.0.0.1'), 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [withTls(`?sslmode=require&sslrootcert=${file('other.pem')}`), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [withTls('?sslmode=verify-full'), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ]
    for (const [url, code] of problems) {
      const error: unknown = await probe(url).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code })
      expect(connectionProblem(error)).toMatchObject({ kind: 'tls' })
    }
  })

  it('is cancelled over TLS, too', async () => {
    await turnTlsOn()
    const connections = openConnections({
      url: withTls(`?sslmode=verify-full&sslrootcert=${file('ca.pem')}`),
      applicationName: 'tls-test',
    })
    const stop = new AbortController()
    const sleeping = sql`select pg_sleep(100), 'tls abort'`.execute(
      connections.reader({ ...unit, signal: stop.signal }),
    )
    const outcome = expect(sleeping).rejects.toThrow('stop it')
    for (;;) {
      const rows = await database.query(
        `select from pg_stat_activity where query like '%tls abort%' and state = 'active' and pid <> pg_backend_pid()`,
      )
      if (rows.length > 0) break
    }
    stop.abort(new Error('stop it'))
    await outcome
    const left = await database.query(`select state from pg_stat_activity where application_name = 'tls-test'`)
    // Cancelled and rolled back, not closed: the connection is kept.
    expect(left).toEqual([{ state: 'idle' }])
    await connections.close()
    await leakCheck(database.url)
  })

  it('is reached through its Unix socket without TLS, whatever sslmode says', async () => {
    const socket = new URL(database.url)
    const connections = openConnections({
      url: `postgresql://postgres@/${database.name}?host=${dirname(server.dataDir ?? '')}&port=${socket.port}&sslmode=require`,
      applicationName: 'socket-test',
    })
    expect(await connections.probe()).toMatchObject({ encrypted: false, direct: true })
    const stop = new AbortController()
    const sleeping = sql`select pg_sleep(100), 'socket abort'`.execute(
      connections.reader({ ...unit, signal: stop.signal }),
    )
    const outcome = expect(sleeping).rejects.toThrow('stop it')
    for (;;) {
      const rows = await database.query(
        `select from pg_stat_activity where query like '%socket abort%' and state = 'active' and pid <> pg_backend_pid()`,
      )
      if (rows.length > 0) break
    }
    stop.abort(new Error('stop it'))
    await outcome
    await connections.close()
  })

  /** Idempotent; resolves when new connections are offered TLS. */
  async function turnTlsOn(): Promise<void> {
    await database.query(`alter system set ssl = on`)
    await database.query('select pg_reload_conf()')
    for (;;) {
      const client = new pg.Client({ connectionString: withTls(''), ssl: { rejectUnauthorized: false } })
      client.on('error', () => undefined)
      const offered = await client.connect().then(
        () => true,
        () => false,
      )
      await client.end().catch(() => undefined)
      if (offered) return
    }
  }
})
