/** While autovacuum keeps the database from stopping, everything else waits. */
import { createTestDatabase, startPostgres } from '@battlescope/scheduler-testing'
import { expect, it } from 'vitest'
import { countNow, createBloated, deadRows, run, until } from './world.js'

it('vacuums nothing while autovacuum prevents wraparound, and stays partial', { timeout: 120_000 }, async () => {
  const server = await startPostgres({
    major: 15,
    settings: { autovacuum: 'on', autovacuum_naptime: '1s', autovacuum_freeze_max_age: '100000' },
  })
  const database = await createTestDatabase({ server })
  try {
    const slowly = 'autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1'
    await createBloated(database, 'old', 20_000, `WITH (autovacuum_enabled = false, ${slowly})`)
    // Each exception block that writes takes a transaction's number. Gone before it is old enough itself: autovacuum has two workers.
    await database.query(`CREATE TABLE burn (i int); DO $$ BEGIN FOR i IN 1..110000 LOOP
      BEGIN INSERT INTO burn VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; DROP TABLE burn; END $$; ${countNow}`)
    await until(
      database,
      `EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '%public.old (to prevent wraparound)')`,
    )
    await createBloated(database, 'a', 5000, 'WITH (autovacuum_enabled = false)')
    const waits = await run(database, { relations: ['a'] })
    expect(waits).toMatchObject({
      outcome: 'partial',
      remaining: 1,
      actions: [],
      findings: [
        {
          key: 'wraparound',
          severity: 'warning',
          // It says ANALYZE, too, when that is due as well.
          summary: expect.stringMatching(
            /^vacuum stands aside: autovacuum: VACUUM .*public\.old \(to prevent wraparound\) is running$/,
          ) as string,
        },
      ],
    })
    expect(await deadRows(database)).toMatchObject({ a: 5000 })
  } finally {
    await database.drop()
    await server.stop()
  }
})
