/** `tsx --conditions=@battlescope/source bench/recalculation.ts [killmails]`: generates rows (default: a million killmails), then measures. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, startPostgres } from '@battlescope/scheduler-testing'
import { fillGeneratedDatabase, firstDay, lastDay } from './generated-database.js'
import { measure } from './measure.js'

const [killmails = '1000000'] = process.argv.slice(2)
const server = await startPostgres()
try {
  const database = await createTestDatabase({ server })
  await database.query(battlescopeDdl)
  await fillGeneratedDatabase(database, Number(killmails))
  process.stdout.write(`${killmails} killmails, ${firstDay} to ${lastDay}, PostgreSQL ${server.major}\n`)
  await measure(database, server.pid ?? 0)
  await database.drop()
} finally {
  await server.stop()
}
