/**
 * `tsx --conditions=@battlescope/source bench/recalculation.ts [killmails] [pairs]`: generates rows (default: a million killmails), then
 * measures three pairs.
 */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, startPostgres } from '@battlescope/scheduler-testing'
import { fillGeneratedDatabase, firstDay, lastDay } from './generated-database.js'
import { measure } from './measure.js'

const [killmails = '1000000', pairs = '3'] = process.argv.slice(2)
const server = await startPostgres()
try {
  const database = await createTestDatabase({ server })
  await database.query(battlescopeDdl)
  await fillGeneratedDatabase(database, Number(killmails))
  process.stdout.write(
    `${killmails} killmails, ${firstDay} to ${lastDay}, PostgreSQL ${server.major}, ${pairs} pairs\n`,
  )
  await measure(database, Number(pairs))
  await database.drop()
} finally {
  await server.stop()
}
