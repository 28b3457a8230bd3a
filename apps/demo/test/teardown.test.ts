import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { spawnDemo, type SpawnedDemo } from './spawned-demo.js'

const spawned: SpawnedDemo[] = []
const start = async (argv: readonly string[], environment?: Readonly<Record<string, string>>) => {
  const demo = await spawnDemo('test/fixtures/show.ts', argv, environment)
  spawned.push(demo)
  return demo
}

afterEach(async () => {
  for (const demo of spawned.splice(0)) await demo.dispose()
})

/** The guard of the server may wait a tenth of a second for its own `sleep`. */
const expectNothingLeft = (demo: SpawnedDemo) => expect.poll(() => demo.leftovers(), { timeout: 2_000 }).toEqual([])

describe('nothing is left', () => {
  it('at the normal end', async () => {
    const demo = await start(['--size', '50'])
    const { code, output } = await demo.ended
    expect(output).toContain('$ node program.mjs succeed\nprogram: succeed\nexit code 0\n')
    expect(output).toContain('PostgreSQL is stopped, and its files are removed.')
    expect(code).toBe(0)
    await expectNothingLeft(demo)
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('after %s while PostgreSQL starts', async (signal, exitCode) => {
    const demo = await start(['--size', '50'])
    await demo.printed(/A BattleScope database/)
    demo.kill(signal)
    expect(await demo.ended).toMatchObject({ code: exitCode })
    await expectNothingLeft(demo)
  })

  it('after SIGINT while the database is filled', async () => {
    const demo = await start(['--size', '60000'])
    await demo.printed(/60,000 generated/)
    demo.kill('SIGINT')
    const { code, output } = await demo.ended
    expect(code).toBe(130)
    expect(output).not.toContain('by COPY')
    expect(output).not.toContain('the demo failed')
    await expectNothingLeft(demo)
  })

  it('after SIGINT while the scheduler works, which stops first and is given its time', async () => {
    const demo = await start(['--size', '50'], { SHOW: 'stop-slowly' })
    await demo.printed(/program: stop-slowly/)
    demo.kill('SIGINT')
    // A second one changes nothing.
    await demo.printed(/program: stopping/)
    demo.kill('SIGINT')
    const { code, output } = await demo.ended
    expect(code).toBe(130)
    expect(output).toContain('program: stopped')
    await expectNothingLeft(demo)
  })

  it('when the scheduler fails', async () => {
    const demo = await start(['--size', '50', '--keep'], { SHOW: 'fail' })
    const { code, output } = await demo.ended
    expect(code).toBe(1)
    expect(output).toContain('program: fail\nexit code 1\n')
    expect(output).toContain('the demo failed: battlescope-scheduler fail: exit code 1')
    await expectNothingLeft(demo)
  })

  it('after SIGKILL, but for the program that was running', async () => {
    const demo = await start(['--size', '50', '--keep'], { SHOW: 'hang' })
    await demo.printed(/program: hang/)
    const running = (await demo.leftovers()).find((command) => command.includes('program.mjs')) ?? ''
    expect(running).toContain('program.mjs hang')
    demo.kill('SIGKILL')
    await demo.exited
    await expect.poll(() => demo.leftovers(), { timeout: 30_000 }).toEqual([running])
  })
})

describe('--keep', () => {
  it('leaves a database that answers, until it is stopped as printed', async () => {
    const demo = await start(['--size', '50', '--keep'])
    const { code, output } = await demo.ended
    expect(code).toBe(0)
    const url = /^ {2}(postgresql:\S+)$/m.exec(output)?.[1]
    const keeper = Number(/^ {2}kill (\d+)$/m.exec(output)?.[1])
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const { rows } = await client.query<{ n: number; autovacuum: string; off: number; superuser: string }>(
      `select (select count(*)::int from killmail_events) as n, current_setting('autovacuum') as autovacuum,
              (select count(*)::int from pg_class where relkind = 'r' and reloptions is not null) as off, current_setting('is_superuser') as superuser`,
    )
    await client.end()
    expect(rows).toEqual([{ n: 50, autovacuum: 'on', off: 0, superuser: 'off' }])
    process.kill(keeper, 'SIGTERM')
    await expect.poll(() => demo.leftovers(), { timeout: 15_000 }).toEqual([])
  })
})

describe('the scheduler', () => {
  it('finds of the environment what cron leaves, and DATABASE_URL', async () => {
    const demo = await start(['--size', '50'], {
      SHOW: 'environment',
      SCHEDULER_TASKS: 'nonsense',
      OTEL_SDK_DISABLED: '1',
    })
    const { output } = await demo.ended
    const names = JSON.parse(/^\["[^\n]*$/m.exec(output)?.[0] ?? '[]') as string[]
    expect(names).toContain('DATABASE_URL')
    expect(names.filter((name) => /^(SCHEDULER_|OTEL_|PG|SHOW)/.test(name))).toEqual([])
  })
})

describe('bad arguments', () => {
  it.each([
    [['--size', 'many'], "--size must be a whole number from 1 to 1000000, but got 'many'"],
    [['--killmails', 'gone.json'], "--killmails: there is no file or folder 'gone.json'"],
  ])('%j ends with 64 before anything starts', async (argv, message) => {
    const demo = await start(argv)
    const { code, output } = await demo.ended
    expect(code).toBe(64)
    expect(output).toBe(`${message}\nHINT: npm run demo -- --help\n`)
    await expectNothingLeft(demo)
  })

  it('--help shows the options and ends with 0', async () => {
    const { code, output } = await (await start(['--help'])).ended
    expect(code).toBe(0)
    expect(output).toContain('--killmails PATH…')
  })
})
