import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase, createTestRole, startPostgres, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { battlescope, records } from './support.js'

let database: TestDatabase
let folder: string
beforeAll(async () => {
  database = await createTestDatabase()
  folder = mkdtempSync(join(tmpdir(), 'scheduler-bad-input-'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await database.drop()
})

const password = 'SeCrEt-PaSsWoRd'

async function fails(argv: readonly string[], environment: Record<string, string>, exitCode: number) {
  const ended = await battlescope(argv, environment)
  expect(ended.exitCode, ended.stderr + ended.stdout).toBe(exitCode)
  const text = ended.stderr + ended.stdout
  expect(text).not.toContain(password)
  return text
}

function withPassword(url: string): string {
  const changed = new URL(url)
  changed.password = password
  return changed.href
}

/** The real server, with what it answers changed on the way. */
async function startProxy(url: string, change: (bytes: Buffer) => Buffer): Promise<{ url: string; stop(): void }> {
  const target = new URL(url)
  const { hostname, port } = target
  const sockets: Socket[] = []
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    sockets.push(client, upstream)
    for (const socket of [client, upstream]) socket.on('error', () => undefined)
    client.pipe(upstream)
    upstream.on('data', (bytes) => client.write(change(bytes)))
    upstream.on('end', () => client.end())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  target.port = String((proxy.address() as AddressInfo).port)
  target.hostname = '127.0.0.1'
  target.searchParams.set('sslmode', 'disable')
  return {
    url: target.href,
    stop: () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
    },
  }
}

/** Text of the same length, so that no length in the protocol changes. */
function replaceBytes(bytes: Buffer, from: string, to: string): Buffer {
  return Buffer.from(bytes.toString('latin1').replaceAll(from, to), 'latin1')
}

describe('DATABASE_URL', () => {
  it('that is missing', async () => {
    const text = await fails([], {}, 78)
    expect(text).toContain('DATABASE_URL')
    expect(text).toContain('DATABASE_URL_FILE')
  })

  it('that is malformed', async () => {
    const text = await fails(['plan'], { DATABASE_URL: `mysql://me:${password}@localhost/x` }, 78)
    expect(text).toMatch(/postgres(ql)?:\/\//)
  })

  it('whose file cannot be read', async () => {
    const text = await fails(['plan'], { DATABASE_URL_FILE: join(folder, 'absent') }, 78)
    expect(text).toContain('DATABASE_URL_FILE')
    expect(text).toContain('absent')
  })

  it('from a file is used', async () => {
    const path = join(folder, 'url')
    writeFileSync(path, `${database.url}\n`)
    expect((await battlescope(['plan'], { DATABASE_URL_FILE: path })).exitCode).toBe(0)
  })

  it('whose host does not answer', async () => {
    const text = await fails(['plan'], { DATABASE_URL: `postgres://me:${password}@127.0.0.1:1/x` }, 69)
    expect(text).toContain('127.0.0.1:1')
    expect(text).toContain('hint')
  })

  it('whose host does not exist', async () => {
    expect(await fails(['plan'], { DATABASE_URL: `postgres://me:${password}@no.such.host.invalid/x` }, 69)).toContain(
      'no.such.host.invalid',
    )
  })

  it('with a wrong password', async () => {
    const role = await createTestRole(database)
    const text = await fails(['plan'], { DATABASE_URL: withPassword(role.url) }, 69)
    expect(text).toContain('password')
  })

  it('with a database that does not exist', async () => {
    const url = new URL(database.url)
    url.pathname = '/no_such_database'
    expect(await fails(['plan'], { DATABASE_URL: url.href }, 69)).toContain('no_such_database')
  })

  it('that leads to something else than PostgreSQL', async () => {
    const server: Server = createServer((socket) => {
      socket.resume()
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const text = await fails(
      ['plan'],
      { DATABASE_URL: `postgres://me:${password}@127.0.0.1:${port}/x?sslmode=disable` },
      69,
    )
    expect(text).toContain('is this a PostgreSQL server?')
    await new Promise((resolve) => server.close(resolve))
  })

  it('is told in one log line by a run without a terminal', async () => {
    const { stdout, exitCode } = await battlescope([], { DATABASE_URL: 'postgres://me@127.0.0.1:1/x' })
    expect(exitCode).toBe(69)
    expect(records(stdout)).toMatchObject([
      { level: 'error', event: 'run-failed', errorCode: 'database-unavailable', exitCode: 69 },
    ])
  })
})

describe('a server', () => {
  it('older than 15 is refused', async () => {
    const [row] = await database.query<{ version: string }>(`SELECT current_setting('server_version_num') AS version`)
    const version = row?.version ?? ''
    const proxy = await startProxy(database.url, (bytes) => replaceBytes(bytes, version, `14${version.slice(2)}`))
    try {
      const text = await fails(['plan'], { DATABASE_URL: proxy.url }, 78)
      expect(text).toContain('PostgreSQL 15')
      expect(text).toContain('hint')
    } finally {
      proxy.stop()
    }
  })

  it('that is a standby is refused', async () => {
    const standby = await startPostgres({ standby: true })
    try {
      const text = await fails(['plan'], { DATABASE_URL: standby.url }, 69)
      expect(text).toContain('standby')
      expect(text).toContain('hint')
    } finally {
      await standby.stop()
    }
  })
})

describe('a role without grants', () => {
  it('is told which schema it may not make, and doctor says the SQL', async () => {
    const role = await createTestRole(database)
    const text = await fails([], { DATABASE_URL: role.url }, 78)
    expect(text).toContain('CREATE SCHEMA')
    const doctor = await battlescope(['doctor', '--json'], { DATABASE_URL: role.url })
    expect(doctor.exitCode).toBe(78)
    expect(JSON.parse(doctor.stdout)).toContainEqual(
      expect.objectContaining({
        check: 'schema scheduler',
        result: 'fail',
        mend: expect.stringContaining('AUTHORIZATION') as string,
      }),
    )
  })
})

describe('a role without grants on a schema that is there', () => {
  const grants = (name: string) => ({
    nothing: `REVOKE ALL ON SCHEMA scheduler FROM ${name}`,
    'USAGE alone': `GRANT USAGE ON SCHEMA scheduler TO ${name}`,
    'USAGE and SELECT': `GRANT USAGE ON SCHEMA scheduler TO ${name}; GRANT SELECT ON ALL TABLES IN SCHEMA scheduler TO ${name}`,
  })

  it.each(['nothing', 'USAGE alone', 'USAGE and SELECT'] as const)(
    'but %s is told which, and the SQL mends it',
    async (has) => {
      const own = await createTestDatabase()
      try {
        expect((await battlescope(['migrate'], { DATABASE_URL: own.url })).exitCode).toBe(0)
        const role = await createTestRole(own)
        await own.query(grants(role.name)[has])
        const environment = { DATABASE_URL: role.url }
        const readsOnly = has === 'USAGE and SELECT'
        for (const argv of [[], ...(readsOnly ? [] : [['plan'], ['status'], ['history'], ['pause', 'analyze']])]) {
          const text = await fails(argv, environment, 78)
          expect(text).toMatch(
            /may not use the schema scheduler|lacks (SELECT, )?INSERT, UPDATE, DELETE on scheduler\./,
          )
          expect(text).toContain('GRANT')
          expect(text).not.toContain('bug')
        }
        const doctor = await battlescope(['doctor', '--json'], environment)
        expect(doctor.exitCode).toBe(78)
        const checks = JSON.parse(doctor.stdout) as { check: string; result: string; mend?: string }[]
        const check = checks.find((each) => each.check === 'schema scheduler')
        expect(check).toMatchObject({ result: 'fail' })
        await own.query(check?.mend ?? '')
        expect((await battlescope([], environment)).exitCode).toBe(0)
        expect((await battlescope(['doctor'], environment)).stdout).toMatch(/schema scheduler +ok/)
      } finally {
        await own.drop()
      }
    },
  )
})

describe('tasks', () => {
  it('that do not exist are named, with the nearest', async () => {
    const text = await fails([], { DATABASE_URL: database.url, SCHEDULER_TASKS: 'analyse' }, 78)
    expect(text).toContain("'analyse'")
    expect(text).toContain("'analyze'")
  })

  it('listed twice, and a list that is empty', async () => {
    expect(await fails([], { DATABASE_URL: database.url, SCHEDULER_TASKS: 'analyze,analyze' }, 78)).toContain(
      'each task once',
    )
    expect(await fails([], { DATABASE_URL: database.url, SCHEDULER_TASKS: ' , ' }, 78)).toContain('SCHEDULER_TASKS')
  })

  it('asked for by --task that are not enabled', async () => {
    expect(await fails(['run', '--task', 'analyse'], { DATABASE_URL: database.url }, 64)).toContain('analyze')
  })

  it('from a package that is missing are disabled loudly, and the others run', async () => {
    const environment = { DATABASE_URL: database.url, SCHEDULER_TASKS: 'analyze,@acme/absent' }
    const { exitCode, stdout } = await battlescope([], environment)
    expect(exitCode).toBe(1)
    expect(records(stdout)).toContainEqual(expect.objectContaining({ event: 'task-disabled', task: '@acme/absent' }))
    expect(records(stdout)).toContainEqual(expect.objectContaining({ event: 'task-ended', task: 'analyze' }))
  })
})

describe('options', () => {
  it('and connection strings that are wrong are all reported at once', async () => {
    const text = await fails(
      ['status'],
      {
        DATABASE_URL: `postgres://me:${password}@db:port/x`,
        DATABASE_DIRECT_URL: `mysql://me:${password}@db/x`,
        SCHEDULER_GRACE: '10',
        SCHEDULER_TASKS: 'analyse,npm:something',
        SCHEDULER_SOMETHING_OPTION: 'of a package that is not loaded yet',
        SCHEDULER_CONFIG: join(folder, 'nowhere.yaml'),
      },
      78,
    )
    expect(text).toContain('5 problems')
    for (const part of [
      'DATABASE_URL',
      'the port',
      'DATABASE_DIRECT_URL',
      'mysql://',
      'SCHEDULER_GRACE',
      'analyse',
      'nowhere.yaml',
    ])
      expect(text).toContain(part)
    expect(await fails([], { SCHEDULER_GRACE: '10' }, 78)).toContain('2 problems')
  })

  it('that are mistyped in the environment are all reported at once', async () => {
    const text = await fails(
      [],
      {
        DATABASE_URL: database.url,
        SCHEDULER_BUGDET: '40s',
        SCHEDULER_GRACE: '10',
        SCHEDULER_ANALYZE_PARALLEL: 'many',
        LOG_LEVEL: 'loud',
      },
      78,
    )
    expect(text).toContain('4 problems')
    for (const part of [
      'SCHEDULER_BUGDET',
      'SCHEDULER_BUDGET',
      'SCHEDULER_GRACE',
      'SCHEDULER_ANALYZE_PARALLEL',
      'LOG_LEVEL',
      'loud',
    ])
      expect(text).toContain(part)
  })

  it('that are unknown in the file are reported with their line', async () => {
    const path = join(folder, 'unknown.yaml')
    writeFileSync(path, 'budget: 30s\nanalyze:\n  paralel: 3\n')
    const text = await fails(['plan', '--config', path], { DATABASE_URL: database.url }, 78)
    expect(text).toContain('analyze.paralel')
    expect(text).toContain('parallel')
    expect(text).toContain(':3')
  })

  it('of a file that is not YAML', async () => {
    const path = join(folder, 'broken.yaml')
    writeFileSync(path, 'analyze: [1, 2\nbudget: "')
    const text = await fails([], { DATABASE_URL: database.url, SCHEDULER_CONFIG: path }, 78)
    expect(text).toContain('YAML')
    expect(text).toContain('broken.yaml')
  })

  it('of a file that does not exist', async () => {
    expect(
      await fails([], { DATABASE_URL: database.url, SCHEDULER_CONFIG: join(folder, 'nowhere.yaml') }, 78),
    ).toContain('nowhere.yaml')
  })

  it('keep secrets out of every output', async () => {
    const { stdout, stderr, exitCode } = await battlescope(['config'], {
      DATABASE_URL: `postgres://me:${password}@db/x`,
      DATABASE_DIRECT_URL: `postgres://me:${password}@db/x`,
    })
    expect(exitCode).toBe(0)
    expect(stdout + stderr).not.toContain(password)
    expect(stdout).toContain('********')
  })
})

describe('the command line', () => {
  it.each([
    [['runn'], 'run'],
    [['run', '--forse'], 'force'],
    [['history', '--since', 'yesterday'], '7d'],
    [['pause', 'analyze', '--until', 'soon'], '3d'],
    [['pause'], 'help'],
    [['run', '--fail-on', 'bad'], 'fail-on'],
  ])('%j is a usage error with a hint', async (argv, hint) => {
    const text = await fails(argv, { DATABASE_URL: database.url }, 64)
    expect(text).toContain('hint')
    expect(text).toContain(hint)
  })
})
