/** What is forgotten of attempts that ended more than a year ago, when the next one is announced. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createWorld, type World } from './world.js'

describe('history', () => {
  let world: World
  beforeEach(async () => {
    world = await createWorld({ driver: 'command', command: ['true'] })
    await world.run()
  })
  afterEach(() => world.close())

  it('forgets what left nothing behind, and keeps dumps that vanished: their manifests may be in the store still', async () => {
    await world.database.query(`
      INSERT INTO scheduler.backup (name, slot_id, attempt, driver, state, announced_at, object_name)
      SELECT 'old-' || name, 'backup@' || name, 1, driver, state, now() - interval '401 days', object_name
      FROM (VALUES
        ('failed', 'pg-dump', 'failed', 'backups/data/a.00000000.dump'),
        ('pruned', 'pg-dump', 'pruned', 'backups/data/b.00000000.dump'),
        ('vanished-job', 'kubernetes', 'vanished', NULL),
        ('vanished-dump', 'pg-dump', 'vanished', 'backups/data/c.00000000.dump'),
        ('unconfirmed', 'http', 'unconfirmed', NULL),
        ('succeeded', 'http', 'succeeded', NULL),
        ('dump', 'pg-dump', 'succeeded', 'backups/data/d.00000000.dump')
      ) AS old (name, driver, state, object_name)`)
    await world.database.query(`
      INSERT INTO scheduler.backup (name, slot_id, attempt, driver, state, announced_at)
      VALUES ('young-vanished-job', 'backup@young', 1, 'kubernetes', 'vanished', now() - interval '399 days')`)
    await world.run()
    const names = (await world.rows()).map(({ name }) => name).filter((name) => /^(old|young)-/.test(name))
    expect(names).toEqual(['old-dump', 'old-vanished-dump', 'young-vanished-job'])
  })

  it('does not lose sight of the newest success behind thousands of failures', async () => {
    await world.database.query(`
      INSERT INTO scheduler.backup (name, slot_id, attempt, driver, state, announced_at)
      SELECT 'failed-' || i, 'backup@' || i, 1, 'command', 'failed', now() + i * interval '1 ms' FROM generate_series(1, 3000) AS i`)
    const run = await world.run({ config: { command: ['false'], attempts: 1 } })
    expect(run.findings.map(({ key }) => key)).toEqual(['failed'])
  })
})
