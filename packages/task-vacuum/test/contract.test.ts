import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { describeTaskContract } from '@battlescope/scheduler-testing'
import { vacuum } from '../src/index.js'

describeTaskContract(vacuum, {
  template: { name: 'battlescope', build: battlescopeDdl },
  seed: async (database) => {
    await database.query(`
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url)
      SELECT i, 30000000 + i % 50, now() - i * interval '1 minute', 'https://zkillboard.com/kill/' || i FROM generate_series(1, 3000) AS i;
      INSERT INTO killmail_enrichments (killmail_id) SELECT killmail_id FROM killmail_events;
      UPDATE killmail_enrichments SET status = 'succeeded';
      SELECT pg_stat_force_next_flush()`)
  },
})
