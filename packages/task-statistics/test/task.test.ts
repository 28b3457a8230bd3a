import { createTestDatabase, runOneTask, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { statistics } from '../src/index.js'

describe('statistics', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await createTestDatabase()
    await database.query('CREATE TABLE public.statistics (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL)')
    await database.query(
      `INSERT INTO public.statistics VALUES (1, now() - interval '1 year'), (2, now() - interval '2 hours'), (3, now())`,
    )
  })

  afterAll(() => database.drop())

  it('deletes what expired before the grace period, and nothing else', async () => {
    const { task } = await runOneTask({ task: statistics, databaseUrl: database.url })
    expect(task.run?.outcome).toBe('succeeded')
    expect(await database.query('SELECT id FROM public.statistics')).toEqual([{ id: '3' }])
  })

  it('is skipped where the relation does not exist', async () => {
    await database.query('DROP TABLE public.statistics')
    const { task } = await runOneTask({ task: statistics, databaseUrl: database.url, force: true })
    expect(task.run).toMatchObject({ outcome: 'skipped', reason: 'there is no relation public.statistics' })
  })
})
