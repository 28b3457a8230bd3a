import { describeTaskContract } from '@battlescope/scheduler-testing'
import { reindex } from '../src/index.js'
import { createTable, run, small, storm } from './bloat.js'

describeTaskContract(reindex, {
  config: { ...small, indexesPerRun: 1 },
  seed: async (database) => {
    await createTable(database)
    // What is measured by is learned by a run before.
    await run(database)
    await database.query('DELETE FROM scheduler.action; DELETE FROM scheduler.task_run')
    await storm(database)
  },
})
