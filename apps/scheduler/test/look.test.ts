/** Commands that only look, beside packages that hang, and under signals. */
import { createServer, type AddressInfo, type Server } from 'node:net'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePluginFolder, taskPackage, type PluginFolder } from './plugin-folder.js'
import { battlescope, program } from './support.js'

let plugins: PluginFolder
let database: TestDatabase
beforeAll(async () => {
  plugins = makePluginFolder({
    good: taskPackage('good', `return { outcome: 'succeeded' }`),
    'loops-at-import': { source: `process.stderr.write('importing\\n'); for (;;);` },
  })
  database = await createTestDatabase()
  expect((await battlescope([], { DATABASE_URL: database.url })).exitCode).toBe(0)
})
afterAll(async () => {
  plugins.remove()
  await database.drop()
})

const environment = () => ({
  DATABASE_URL: database.url,
  SCHEDULER_PLUGIN_DIR: plugins.path,
  SCHEDULER_TASKS: 'analyze,npm:loops-at-import,npm:good',
})

describe('beside a package that hangs at its import', () => {
  it.each([[['status']], [['tasks']], [['doctor']], [['config']], [['pause', 'unknown']]])(
    '%j says which, and ends',
    { timeout: 60_000 },
    async (argv) => {
      const { exitCode, stderr } = await battlescope(argv, environment())
      expect(exitCode).toBe(1)
      expect(stderr).toContain('error: import of loops-at-import does not come back')
      expect(stderr).toContain('hint: ')
    },
  )

  it('they answer once it is paused, or rests, and list it with the reason', async () => {
    const row = 'npm:loops-at-import'
    // As a run leaves it.
    await database.query(`INSERT INTO scheduler.task (name, third_party) VALUES ('${row}', true)`)
    expect((await battlescope(['pause', row, '--reason', 'it hangs'], environment())).exitCode).toBe(0)
    for (const argv of [['status'], ['tasks'], ['doctor'], ['config']]) {
      const { exitCode, stdout } = await battlescope(argv, environment())
      expect(stdout).toContain('loops-at-import')
      expect(stdout).toContain('it hangs')
      // What the other packages bring is there.
      expect(stdout, argv.join(' ')).toContain('good')
      expect([0, 1, 78]).toContain(exitCode)
    }
    expect((await battlescope(['pause', 'unknown'], environment())).exitCode).toBe(64)
    expect((await battlescope(['resume', row], environment())).exitCode).toBe(0)
    await database.query(`UPDATE scheduler.task SET consecutive_failures = 2, retry_at = now() + interval '1 hour'
      WHERE name = '${row}'`)
    expect((await battlescope(['status'], environment())).stdout).toContain('2 imports in a row ended the process')
    await database.query(`DELETE FROM scheduler.task WHERE name = '${row}'`)
  })

  it('a built-in task can be paused without loading any package', async () => {
    expect((await battlescope(['pause', 'analyze'], environment())).exitCode).toBe(0)
    expect((await battlescope(['resume', 'analyze'], environment())).exitCode).toBe(0)
  })
})

/** Accepts and says nothing: whoever connects waits. */
async function startSilentServer(): Promise<{ server: Server; url: string; connected: Promise<void> }> {
  let onConnection: () => void = () => undefined
  const connected = new Promise<void>((resolve) => {
    onConnection = resolve
  })
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    onConnection()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, url: `postgres://me@127.0.0.1:${(server.address() as AddressInfo).port}/x`, connected }
}

const start = (argv: readonly string[], env: Record<string, string>) =>
  execa(process.execPath, [program, ...argv], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    extendEnv: false,
    reject: false,
    timeout: 60_000,
  })

describe('the first signal ends at once', () => {
  it.each([
    [['status'], 'SIGINT', 130],
    [['history'], 'SIGTERM', 143],
    [['doctor'], 'SIGINT', 130],
    [['pause', 'analyze'], 'SIGTERM', 143],
    [['migrate'], 'SIGINT', 130],
  ] as const)('%j that waits for the server (%s, %i)', async (argv, signal, exitCode) => {
    const { server, url, connected } = await startSilentServer()
    const child = start(argv, { DATABASE_URL: `${url}?connect_timeout=50` })
    await connected
    child.kill(signal)
    const ended = await child
    expect(ended.timedOut).toBe(false)
    expect(ended.exitCode, ended.stderr).toBe(exitCode)
    server.close()
  })

  it('a command in the endless loop of a package', async () => {
    const child = start(['status'], environment())
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (text: Buffer) => {
        if (text.toString().includes('importing')) resolve()
      })
    })
    child.kill('SIGINT')
    // By the signal's default effect: a shell makes 130 of it.
    expect((await child).signal).toBe('SIGINT')
  })
})
