import { describeTaskContract, runOneTask } from '@battlescope/scheduler-testing'
import { statistics } from '../src/index.js'
import { template } from './support.js'

describeTaskContract(statistics, {
  template,
  // Everything is counted, and today's sizes are known: nothing to do.
  unseeded: async (database) => {
    await runOneTask({ task: statistics, databaseUrl: database.url, force: true })
    await database.query('DELETE FROM scheduler.task_run; DELETE FROM scheduler.run; DELETE FROM scheduler.action')
  },
  seed: async (database) => {
    await database.query(`
      INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url)
      SELECT gen_random_uuid(), 30000000 + i, now() - i * interval '3 hours', now() - i * interval '3 hours', 2, '' FROM generate_series(1, 12) AS i;
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, attacker_corp_ids, isk_value, zkb_url)
      SELECT i, 30000000 + i % 50, now() - i * interval '1 minute', 99000001, ARRAY[98000001, 98000002], 1000000.25, '' FROM generate_series(1, 2000) AS i`)
  },
})
