import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { containerAvailable, parseDockerHost, startContainer } from '../src/container.js'
import { startEmbedded } from '../src/embedded.js'
import { startGuarded } from '../src/guarded-process.js'
import { sharedServer, startPostgres } from '../src/index.js'
import { makeServerFolder, placeBinaries, selectUnprivilegedUser } from '../src/server-folder.js'

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

function running(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function settings(url: string, names: readonly string[]): Promise<Record<string, string>> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ name: string; setting: string }>(
    'select name, setting from pg_settings where name = any($1)',
    [names],
  )
  await client.end()
  return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
}

describe('an embedded server', () => {
  it('takes settings, is durable when asked to, and leaves neither process nor folder', async () => {
    const server = await startEmbedded(15, { durable: true, settings: { max_connections: '7' } })
    expect(server).toMatchObject({ major: 15, source: 'embedded' })
    expect(await settings(server.url, ['fsync', 'max_connections', 'autovacuum'])).toEqual({
      fsync: 'on',
      max_connections: '7',
      autovacuum: 'off',
    })
    expect(running(server.pid!)).toBe(true)
    await server.stop()
    expect(running(server.pid!)).toBe(false)
    expect(await exists(dirname(server.dataDir!))).toBe(false)
  })

  it('is fast and forgetful by default, and 17 when asked to', async () => {
    const server = await startEmbedded(17, {})
    const { fsync, server_version_num } = await settings(server.url, ['fsync', 'server_version_num'])
    expect(fsync).toBe('off')
    expect(server_version_num).toMatch(/^17/)
    await server.stop()
  })

  it('says why it did not start', async () => {
    await expect(startEmbedded(15, { settings: { max_connections: 'many' } })).rejects.toThrow(/max_connections/)
  })

  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('is gone after %s of its process', async (signal) => {
    // The owner dies without calling stop(), so only the guard can have done it.
    const owner = spawn(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('./server-owner.ts', import.meta.url))],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const [line] = (await once(createInterface(owner.stdout), 'line')) as [string]
    const { pid, dataDir } = JSON.parse(line) as { pid: number; dataDir: string }
    expect(running(pid)).toBe(true)
    owner.kill(signal)
    await once(owner, 'exit')
    // The end of somebody else's child sends us no signal: look until the test's own timeout.
    while (running(pid) || (await exists(dirname(dataDir)))) await sleep(20)
    expect(await exists(dataDir)).toBe(false)
  })
})

describe('placeBinaries', () => {
  it.skipIf(process.getuid?.() !== 0)(
    'copies what another user could not reach, as that user (skipped unless root)',
    async () => {
      const user = await selectUnprivilegedUser()
      const hidden = await mkdtemp(join(tmpdir(), 'hidden-'))
      await mkdir(join(hidden, 'native', 'bin'), { recursive: true })
      await writeFile(join(hidden, 'native', 'bin', 'postgres'), 'binary', { mode: 0o755 })
      const folder = await makeServerFolder('postgres-testing-', user)
      const placed = await placeBinaries(join(hidden, 'native'), folder, user)
      expect(placed.folder).toBe(join(folder, 'native'))
      const guarded = startGuarded({ folder, stopSignal: 'TERM', command: ['sleep', '1000'], ...(user && { user }) })
      await placed.bring()
      const copied = await stat(join(placed.folder, 'bin', 'postgres'))
      expect({ uid: copied.uid, mode: copied.mode & 0o777 }).toEqual({ uid: user?.uid, mode: 0o755 })
      // Ended before it began: the folder goes all the same.
      await guarded.stop()
      expect(await exists(folder)).toBe(false)
      expect((await placeBinaries('/usr/bin', folder, user)).folder).toBe('/usr/bin')
      await rm(hidden, { recursive: true })
    },
  )
})

describe('startPostgres', () => {
  it('takes a given server, and starts one of its own where settings are asked for', async () => {
    const { url, major } = await sharedServer()
    const before = process.env['TEST_DATABASE_URL']
    process.env['TEST_DATABASE_URL'] = url
    try {
      const given = await startPostgres()
      expect(given).toMatchObject({ url, major, source: 'given' })
      await given.stop()
      expect(await settings(url, ['port'])).toHaveProperty('port')
      const own = await startPostgres({ settings: { work_mem: '1MB' } })
      expect(own.url).not.toBe(url)
      expect(await settings(own.url, ['work_mem'])).toEqual({ work_mem: '1024' })
      await own.stop()
    } finally {
      if (before === undefined) delete process.env['TEST_DATABASE_URL']
      else process.env['TEST_DATABASE_URL'] = before
    }
  })

  it('names the variable when a given server does not answer', async () => {
    const before = process.env['TEST_DATABASE_URL']
    process.env['TEST_DATABASE_URL'] = 'postgresql://127.0.0.1:1/postgres'
    try {
      await expect(startPostgres()).rejects.toThrow(/TEST_DATABASE_URL does not answer/)
    } finally {
      if (before === undefined) delete process.env['TEST_DATABASE_URL']
      else process.env['TEST_DATABASE_URL'] = before
    }
  })
})

describe('containerAvailable', () => {
  it('reads DOCKER_HOST', () => {
    expect(parseDockerHost(undefined)).toEqual({ socketPath: '/var/run/docker.sock' })
    expect(parseDockerHost('unix:///run/user/1000/docker.sock')).toEqual({ socketPath: '/run/user/1000/docker.sock' })
    expect(parseDockerHost('tcp://127.0.0.1:2376')).toEqual({ host: '127.0.0.1', port: 2376 })
    expect(parseDockerHost('tcp://[::1]:2375')).toEqual({ host: '::1', port: 2375 })
    expect(parseDockerHost('ssh://builder')).toBeUndefined()
  })

  it('is no where no daemon answers', async () => {
    expect(await containerAvailable(15, 'tcp://127.0.0.1:1')).toBe(false)
    expect(await containerAvailable(15, 'unix:///nowhere/docker.sock')).toBe(false)
  })

  it('pulls an image that is not there, and is no when the pull does not bring it', async () => {
    for (const pullWorks of [true, false]) {
      const asked: string[] = []
      const daemon = createServer((request, response) => {
        asked.push(`${request.method} ${request.url}`)
        const pulled = pullWorks && asked.some((line) => line.startsWith('POST'))
        response.statusCode = request.url === '/_ping' || pulled ? 200 : 404
        response.end()
      })
      daemon.listen(0, '127.0.0.1')
      await once(daemon, 'listening')
      const { port } = daemon.address() as AddressInfo
      expect(await containerAvailable(15, `tcp://127.0.0.1:${port}`)).toBe(pullWorks)
      expect(asked).toEqual([
        'GET /_ping',
        'GET /images/postgres:15-bookworm/json',
        'POST /images/create?fromImage=postgres&tag=15-bookworm',
        'GET /images/postgres:15-bookworm/json',
      ])
      daemon.close()
      daemon.closeAllConnections()
      await once(daemon, 'close')
    }
  })

  it('gives up on a pull that hangs', async () => {
    const daemon = createServer((request, response) => {
      if (request.method === 'POST') return
      response.statusCode = request.url === '/_ping' ? 200 : 404
      response.end()
    })
    daemon.listen(0, '127.0.0.1')
    await once(daemon, 'listening')
    const { port } = daemon.address() as AddressInfo
    expect(await containerAvailable(15, `tcp://127.0.0.1:${port}`, 50)).toBe(false)
    daemon.closeAllConnections()
    daemon.close()
  })
})

const container = await containerAvailable(15, undefined, 5_000).catch(() => false)
const missing = container ? '' : ' (skipped: no Docker engine with postgres:15-bookworm answers; start Docker)'
describe.skipIf(!container)(`a container${missing}`, () => {
  it(
    'is a server like the others, takes settings, and is gone after it was stopped',
    { timeout: 180_000 },
    async () => {
      const server = await startContainer(15, { settings: { work_mem: '3MB' } })
      const client = new pg.Client({ connectionString: server.url })
      client.on('error', () => undefined)
      await client.connect()
      const { rows } = await client.query(
        `select current_setting('work_mem') as work_mem, current_setting('fsync') as fsync`,
      )
      expect(rows).toEqual([{ work_mem: '3MB', fsync: 'off' }])
      await client.end()
      await server.stop()
      await expect(new pg.Client({ connectionString: server.url }).connect()).rejects.toThrow()
    },
  )

  it('is gone after SIGKILL of its process', { timeout: 180_000 }, async () => {
    const script = fileURLToPath(new URL('./server-owner.ts', import.meta.url))
    const owner = spawn(process.execPath, ['--import', 'tsx', script, 'container'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(createInterface(owner.stdout), 'line')) as [string]
    const { url } = JSON.parse(line) as { url: string }
    const answers = async () => {
      const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
      client.on('error', () => undefined)
      return client.connect().then(
        () => client.end().then(() => true),
        () => false,
      )
    }
    expect(await answers()).toBe(true)
    owner.kill('SIGKILL')
    while (await answers()) await sleep(50)
  })
})
