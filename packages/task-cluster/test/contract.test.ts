import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { describeTaskContract, type TaskContractOptions } from '@battlescope/scheduler-testing'
import { describe } from 'vitest'
import { cluster } from '../src/index.js'
import { jobTable } from './database.js'

const options: TaskContractOptions = {
  template: { name: 'battlescope', build: battlescopeDdl },
  // Younger than the processing delay, or clustered: nothing to do.
  unseeded: async (database) => {
    await database.query(`${jobTable};
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, processed_at)
      SELECT i, 30000000, now() - i * interval '1 minute', '', CASE WHEN i > 80 THEN now() END FROM generate_series(1, 200) AS i`)
  },
  seed: async (database) => {
    await database.query(`UPDATE killmail_events SET processed_at = NULL WHERE killmail_id > 150`)
  },
}

describe('with NOTIFY', () => {
  describeTaskContract(cluster, {
    ...options,
    config: { trigger: 'notify' },
    repeats: 'the backlog is the work of the service, and is there until the service has done it',
  })
})

describe('with a table of jobs', () => {
  describeTaskContract(cluster, { ...options, config: { trigger: 'job-table' } })
})
