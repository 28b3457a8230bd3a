import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { battlescope } from './support.js'

let database: TestDatabase
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 700) AS id')
})
afterEach(() => database.drop())

const call = (...argv: string[]) => battlescope(argv, { DATABASE_URL: database.url })
const status = async () =>
  JSON.parse((await call('status', '--json')).stdout) as {
    alerts: {
      open: { name: string; state: string; silence: string | null }[]
      muted: { pattern: string; reason?: string }[]
      deadLetters: { channel: string; reason: string }[]
    } | null
  }

/** A task that is gone, a week ago at most: an alert that the scheduler has about itself. */
async function makeAlert(): Promise<void> {
  await call('run')
  await database.query(`
    UPDATE scheduler.meta SET alerts_since = now() - interval '1 hour';
    INSERT INTO scheduler.task (name, last_claimed_at) VALUES ('gone', now() - interval '2 days')`)
  await call('run')
}

describe('status', () => {
  it('knows of no alerts before the first run', async () => {
    expect((await status()).alerts).toBeNull()
  })

  it('shows what fires although nobody is told, what is muted, and what was not delivered', async () => {
    await makeAlert()
    await database.query(`
      INSERT INTO scheduler.alert_message (id, channel, name, incident_at, transition, content, at, state, next_attempt_at, reason, dead_at)
      VALUES (gen_random_uuid(), 'pagerduty', 'health/queue', now(), 'opened', '{}', now(), 'dead', now(), 'status 400', now())`)
    const { alerts } = await status()
    // The task analyze misses tables of BattleScope's, which is held down for a while.
    expect(alerts?.open.map(({ name, state, silence }) => [name, state, silence])).toEqual([
      ['analyze/missing', 'pending', null],
      ['scheduler/task-not-enabled/gone', 'firing', null],
    ])
    expect(alerts).toMatchObject({
      deadLetters: [{ channel: 'pagerduty', reason: 'status 400' }],
    })
    const { stdout } = await call('status')
    expect(stdout).toMatch(/scheduler\/task-not-enabled\/gone +warning +firing +\S+ +nobody +The task gone ran until/)
    expect(stdout).toMatch(/not delivered to pagerduty: health\/queue opened of \S+: status 400/)
  })
})

describe('alerts mute', () => {
  it('silences by pattern until a date, and unmute ends it', async () => {
    await makeAlert()
    const muted = await call('alerts', 'mute', 'scheduler/*', '--until', '3d', '--reason', 'moved')
    expect(muted).toMatchObject({ exitCode: 0, stderr: '' })
    await call('run')
    const { alerts } = await status()
    expect(alerts?.muted).toMatchObject([{ pattern: 'scheduler/*', reason: 'moved' }])
    expect(alerts?.open.find(({ name }) => name === 'scheduler/task-not-enabled/gone')?.silence).toMatch(
      /^muted until .*: moved$/,
    )
    expect((await call('alerts', 'unmute', 'scheduler/*')).exitCode).toBe(0)
    expect((await status()).alerts?.muted).toEqual([])
  })

  it.each([
    [['alerts', 'mute', 'a/*'], 64, 'until'],
    [['alerts', 'mute', 'a/*', '--until', '2020-01-01'], 64, 'is over already'],
    [['alerts', 'mute', 'a/*', '--until', 'soon'], 64, 'neither an instant nor a duration'],
    [['alerts', 'unmute', 'a/*'], 64, "there is no mute 'a/*'"],
    [['alerts'], 64, 'alerts needs one of: mute, unmute, test'],
    [['alerts', 'test'], 78, 'no channel is configured'],
  ])('%j says what is wrong', async (argv, exitCode, message) => {
    await call('migrate')
    const ended = await call(...argv)
    expect(ended.exitCode).toBe(exitCode)
    expect(ended.stderr).toContain(message)
  })

  it('needs the tables', async () => {
    const { exitCode, stderr } = await call('alerts', 'mute', 'a/*', '--until', '1d')
    expect(exitCode).toBe(78)
    expect(stderr).toContain('migrate')
  })
})
