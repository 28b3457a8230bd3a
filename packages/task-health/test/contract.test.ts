import { openConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { migrate } from '@battlescope/scheduler-core'
import { describeTaskContract } from '@battlescope/scheduler-testing'
import { health } from '../src/index.js'

describeTaskContract(health, {
  template: { name: 'battlescope', build: battlescopeDdl },
  seed: async (database) => {
    await database.query(`
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url)
        SELECT i, 30000000, now() - i * interval '1 minute', '' FROM generate_series(1, 200) AS i;
      INSERT INTO killmail_enrichments (killmail_id) SELECT killmail_id FROM killmail_events`)
    // Nothing is learnt before there are tables to keep it in: a plan on a fresh database has no action.
    const connections = openConnections({ url: database.url, applicationName: 'battlescope-scheduler' })
    await migrate(connections, 'scheduler').finally(() => connections.close())
  },
  repeats: 'baselines take in what every run measures',
})
