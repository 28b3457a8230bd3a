import { selectQueryEstimates, selectRowEstimates } from '../row-estimates.js'
import type { Part } from '../stage.js'
import { showQueryEstimates, showRowEstimates } from './estimates-table.js'

export const firstRun: Part = {
  title: 'First run: planner statistics',
  async run({ output, database, scheduler }) {
    output.text('After a bulk load, PostgreSQL knows nothing of what it holds:', '')
    showRowEstimates(output, await selectRowEstimates(database))
    output.text('')
    showQueryEstimates(output, await selectQueryEstimates(database))
    output.text('', 'What would the scheduler do, and why? This changes nothing:')
    await scheduler('plan')
    output.text('', 'And now it does it, as cron would start it every five minutes:')
    await scheduler('run')
    output.text('', 'The same questions again:', '')
    showRowEstimates(output, await selectRowEstimates(database))
    output.text('')
    showQueryEstimates(output, await selectQueryEstimates(database))
  },
}
