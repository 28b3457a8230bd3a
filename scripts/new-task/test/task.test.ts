import { createTestDatabase, runOneTask, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sampleName } from '../src/index.js'

describe('sample-name', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await createTestDatabase()
    await database.query('CREATE TABLE public.sample_name (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL)')
    await database.query(
      `INSERT INTO public.sample_name VALUES (1, now() - interval '1 year'), (2, now() - interval '2 hours'), (3, now())`,
    )
  })

  afterAll(() => database.drop())

  it('deletes what expired before the grace period, and nothing else', async () => {
    const { task } = await runOneTask({ task: sampleName, databaseUrl: database.url })
    expect(task.run?.outcome).toBe('succeeded')
    expect(await database.query('SELECT id FROM public.sample_name')).toEqual([{ id: '3' }])
  })

  it('is skipped where the relation does not exist', async () => {
    await database.query('DROP TABLE public.sample_name')
    const { task } = await runOneTask({ task: sampleName, databaseUrl: database.url, force: true })
    expect(task.run).toMatchObject({ outcome: 'skipped', reason: 'there is no relation public.sample_name' })
  })
})
