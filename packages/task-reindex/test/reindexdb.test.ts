/**
 * The task against `reindexdb --concurrently` on two tables with the same bloat: the same space back. How long each took is printed, in pairs of alternating
 * order; `REINDEX_PAIRS=10 REINDEX_ROWS=1000000 REINDEX_STORMS=3 pnpm exec vitest run test/reindexdb.test.ts` is the long form.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTable, indexesOf, run, storm } from './bloat.js'
import { pairCount, print, rowCount, stormCount } from './long-form.js'

const execute = promisify(execFile)
const version = await execute('reindexdb', ['--version']).then(
  ({ stdout }) => stdout,
  () => undefined,
)
const missing = version === undefined ? ' (skipped: reindexdb is not installed; apt-get install postgresql-client)' : ''

describe.skipIf(missing !== '')(`beside reindexdb --concurrently${missing}`, () => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    server = await startPostgres({ major: 15 })
    database = await createTestDatabase({ server })
  })
  afterAll(async () => {
    await database.drop()
    await server.stop()
  })

  const bytesOf = async (table: string) => (await indexesOf(database, table)).map(({ bytes }) => bytes)
  const timed = async (work: () => Promise<unknown>) => {
    // Else who comes first writes what the storms left.
    await database.query('CHECKPOINT')
    const startedAt = performance.now()
    await work()
    return performance.now() - startedAt
  }

  it(`gives the same space back, ${pairCount} times`, { timeout: 60_000 + pairCount * 300_000 }, async () => {
    await createTable(database, 'ours', rowCount)
    await createTable(database, 'theirs', rowCount)
    await run(database, { relations: ['public.ours'] })
    // Nothing is measured yet, and whether there is time is not what this is about.
    const settings = { relations: ['public.ours'], indexesPerRun: 3, minInterval: 1, assumedRate: 2 ** 30 }
    const ratios: number[] = []
    const ratiosOfRebuilds: number[] = []
    for (let pair = 0; pair < pairCount; pair += 1) {
      for (const table of ['ours', 'theirs']) await storm(database, table, stormCount)
      const task = async () => {
        const { task: ran } = await run(database, settings)
        expect(ran.run?.actions.filter(({ kind }) => kind === 'rebuild-index')).toHaveLength(3)
      }
      const indexes = ['theirs_pkey', 'theirs_at_idx', 'theirs_label_idx'].map((name) => `--index=public.${name}`)
      const plain = () => execute('reindexdb', ['--concurrently', ...indexes, database.url])
      const [first, second] = pair % 2 === 0 ? [task, plain] : [plain, task]
      const times = [await timed(first), await timed(second)]
      const [oursMs = 1, theirsMs = 1] = pair % 2 === 0 ? times : [...times].reverse()
      ratios.push(theirsMs / oursMs)
      const [ours, theirs] = [await bytesOf('ours'), await bytesOf('theirs')]
      for (const [index, bytes] of ours.entries()) expect(bytes / (theirs[index] ?? 1)).toBeCloseTo(1, 1)
      // What reindexdb does; the run also looks at every index, before and after, and keeps its books.
      const [{ ms: rebuildsMs } = { ms: NaN }] = await database.query<{ ms: number }>(
        `SELECT sum(duration_ms)::float8 AS ms FROM (SELECT duration_ms FROM scheduler.reindex_rebuild ORDER BY started_at DESC LIMIT 3) AS last`,
      )
      ratiosOfRebuilds.push(theirsMs / rebuildsMs)
      print(
        `pair ${pair + 1}: the run ${Math.round(oursMs)} ms, of it the rebuilds ${Math.round(rebuildsMs)} ms, reindexdb ${Math.round(theirsMs)} ms`,
      )
    }
    const median = (of: readonly number[]) => {
      const sorted = [...of].sort((a, b) => a - b)
      const at = (index: number) => sorted[Math.floor(index)] ?? NaN
      return ((at((sorted.length - 1) / 2) + at(sorted.length / 2)) / 2).toFixed(2)
    }
    print(`median speed beside reindexdb: whole runs ${median(ratios)}, rebuilds ${median(ratiosOfRebuilds)}`)
  })
})
