/** `--fail-on` over what the task `health` really finds, by the built program. */
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { battlescope } from './support.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database?.drop())

const environment = (severity: string) => ({
  DATABASE_URL: database.url,
  SCHEDULER_TASKS: 'health',
  SCHEDULER_HEALTH_SEQUENCES_SEVERITY: severity,
  // What the server of the tests is set to, and what it does beside, is not what this is about.
  SCHEDULER_HEALTH_SETTINGS_ENABLED: 'false',
  SCHEDULER_HEALTH_LONG_TRANSACTIONS_ENABLED: 'false',
})
const run = async (severity: string, ...failOn: string[]) =>
  (await battlescope(['run', ...failOn], environment(severity))).exitCode
const found = async () => {
  const rows = await database.query<{ findings: readonly { key: string; severity: string }[] }>(
    'SELECT findings FROM scheduler.task_run ORDER BY id DESC LIMIT 1',
  )
  return rows[0]?.findings.filter(({ severity }) => severity !== 'info')
}

describe('run --fail-on', () => {
  it('is 0 where health finds nothing of that severity', async () => {
    expect(await run('error', '--fail-on', 'warning')).toBe(0)
    expect(await found()).toEqual([])
  })

  describe('with a sequence that is nearly used up', () => {
    beforeAll(async () => {
      await database.query(`CREATE TABLE public.counted (id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
        SELECT setval('public.counted_id_seq', 27000)`)
    })

    it.each([
      ['warning', 'warning', 80],
      ['warning', 'error', 0],
      ['error', 'warning', 80],
      ['error', 'error', 80],
      ['error', 'critical', 0],
      ['critical', 'critical', 80],
    ])('found as %s, and --fail-on %s, is %i', async (severity, failOn, expected) => {
      expect(await run(severity, '--fail-on', failOn)).toBe(expected)
      expect(await found()).toMatchObject([{ key: expect.stringMatching(/^sequences/) as string, severity }])
    })

    it('is 0 without it: a finding is no failure', async () => {
      expect(await run('critical')).toBe(0)
    })
  })
})
