/**
 * `pnpm --filter @battlescope/bench admission --task vacuum|reindex [--rounds 2] [--limit 4]`: every decision of a task on whether there is time, beside what
 * the work then took. What was not begun in the short run is done in a long one, so that it too can be compared. See README.md beside this folder.
 */
import { execFile } from 'node:child_process'
import { parseArgs, promisify } from 'node:util'
import { createTestDatabase, startPostgres, type TestDatabase } from '@battlescope/postgres-testing'
import { program } from './world.js'

const execute = promisify(execFile)
const { values } = parseArgs({
  options: {
    task: { type: 'string', default: 'vacuum' },
    rounds: { type: 'string', default: '3' },
    /** Seconds that a run has. */
    limit: { type: 'string', default: '4' },
  },
})
const [rounds, limit] = [Number(values.rounds), Number(values.limit)]
const say = (text: string) => process.stdout.write(`${text}\n`)

/** Thousands of rows; the table of so many is `r<number>`. */
const sizes = [20, 60, 150, 400, 1000, 2000]

interface Finding {
  readonly key: string
  readonly details?: { readonly relations?: readonly Case[]; readonly indexes?: readonly Case[] }
}
interface Case {
  readonly relation: string
  readonly index?: string
  readonly reason?: string
  readonly why?: string
}
interface Report {
  readonly tasks: readonly { readonly run?: { readonly outcome: string; readonly findings: readonly Finding[] } }[]
}
type Options = Readonly<Record<string, string>>

interface Contest {
  readonly short: Options
  readonly long: Options
  readonly prepare: () => Promise<void>
  readonly targetOf: (of: Case) => string
  /** Newest first: what was done, and how long each took. */
  readonly selectDone: () => Promise<readonly Done[]>
}
interface Done {
  readonly target: string
  readonly at: string
  readonly predictedMs: number
  readonly tookMs: number
}

async function run(database: TestDatabase, options: Options, budget: string): Promise<readonly Finding[]> {
  const env = { DATABASE_URL: database.url, SCHEDULER_TASKS: values.task, ...options }
  const argv = [program, 'run', '--task', values.task, '--force', '--budget', budget, '--json']
  const { stdout } = await execute(process.execPath, argv, { env, maxBuffer: 2 ** 26 })
  const [task] = (JSON.parse(stdout) as Report).tasks
  return task?.run?.findings ?? []
}

function vacuumContest(database: TestDatabase): Contest {
  const options = {
    SCHEDULER_VACUUM_RELATIONS: 'public.*',
    SCHEDULER_VACUUM_THRESHOLD_SHARE: '0.01',
    SCHEDULER_VACUUM_ANALYZE: 'false',
  }
  return {
    short: { ...options, SCHEDULER_VACUUM_RELATION_TIMEOUT: `${limit}s` },
    long: { ...options, SCHEDULER_VACUUM_RELATION_TIMEOUT: '20m', SCHEDULER_VACUUM_TIMEOUT: '30m' },
    prepare: async () => {
      for (const size of sizes) await database.query(`UPDATE r${size} SET at = at + interval '1 hour' WHERE id % 3 = 0`)
    },
    targetOf: ({ relation }) => relation,
    selectDone: () =>
      database.query<Done>(
        `SELECT target, at::text, (details->>'predictedMs')::float8 AS "predictedMs", (details->>'vacuumMs')::float8 AS "tookMs"
         FROM scheduler.action WHERE kind = 'vacuum' AND result = 'succeeded' ORDER BY id DESC`,
      ),
  }
}

function reindexContest(database: TestDatabase): Contest {
  const options = {
    SCHEDULER_REINDEX_RELATIONS: 'public.*',
    SCHEDULER_REINDEX_MIN_WASTE: '16KiB',
    SCHEDULER_REINDEX_MIN_INTERVAL: '1ms',
    SCHEDULER_REINDEX_INDEXES_PER_RUN: '20',
  }
  return {
    short: { ...options, SCHEDULER_REINDEX_TIMEOUT: `${Math.ceil(limit / 0.8)}s` },
    long: { ...options, SCHEDULER_REINDEX_TIMEOUT: '30m' },
    prepare: async () => {
      for (const size of sizes) await database.query(`VACUUM ANALYZE r${size}`)
      await database.query(
        `UPDATE scheduler.reindex_index SET best_bytes_per_tuple = CASE WHEN index_name LIKE '%pkey' THEN 1000 ELSE 0.1 END`,
      )
    },
    targetOf: ({ index = '' }) => index,
    selectDone: () =>
      database.query<Done>(
        `SELECT index_name AS target, started_at::text AS at, predicted_ms::float8 AS "predictedMs", duration_ms::float8 AS "tookMs"
         FROM scheduler.reindex_rebuild WHERE outcome = 'rebuilt' ORDER BY started_at DESC`,
      ),
  }
}

/** What a decision not to begin was made by, as the finding has it in words. */
function predictedIn({ reason = '', why = '' }: Case): string {
  return /would take (?:about )?([^ ,]+(?: s)?)/.exec(`${reason} ${why}`)?.[1] ?? ''
}

async function main(): Promise<void> {
  const server = await startPostgres({ major: 15, settings: { shared_buffers: '512MB', max_wal_size: '8GB' } })
  const database = await createTestDatabase({ server })
  try {
    for (const size of sizes) {
      await database.query(`CREATE TABLE r${size} (id bigint PRIMARY KEY, at timestamptz, label text)`)
      await database.query(
        `INSERT INTO r${size} SELECT i, now() - i * interval '1 s', md5(i::text) || md5((i + 1)::text) FROM generate_series(1, ${size * 1000}) i`,
      )
      await database.query(`CREATE INDEX r${size}_label ON r${size} (label)`)
    }
    // What was inserted is counted first: later than ANALYZE it would look like new changes.
    await database.query('SELECT pg_stat_force_next_flush()')
    await database.query('VACUUM ANALYZE')
    const contest = values.task === 'reindex' ? reindexContest(database) : vacuumContest(database)
    // The scheduler's own tables, and the sizes that reindex learns.
    await run(database, contest.short, '15s')
    say(`${values.task}: a run has ${limit} s for it; ${sizes.length} relations of ${sizes.join(', ')} thousand rows`)
    say('round  target                decision       predicted, s   took, s   right')
    const ratios: number[] = []
    let [right, all] = [0, 0]
    for (let round = 1; round <= rounds; round += 1) {
      await contest.prepare()
      const before = new Set((await contest.selectDone()).map(({ at, target }) => `${target} ${at}`))
      const isNew = ({ at, target }: Done) => !before.has(`${target} ${at}`)
      const findings = await run(database, contest.short, `${limit}s`)
      const begun = (await contest.selectDone()).filter(isNew)
      const refused = findings.flatMap(({ key, details }) =>
        [...(details?.relations ?? []), ...(details?.indexes ?? [])].flatMap((one) =>
          /would take/.test(`${one.reason} ${one.why}`) ? [{ ...one, target: contest.targetOf(one), key }] : [],
        ),
      )
      // What was left is done without a limit: how long it takes says whether it was rightly left.
      await run(database, contest.long, '20m')
      const later = (await contest.selectDone()).filter(
        (one) => isNew(one) && !begun.some(({ target }) => target === one.target),
      )
      const line = (target: string, decision: string, predicted: string, tookMs: number, isRight: boolean) => {
        all += 1
        if (isRight) right += 1
        say(
          `${String(round).padStart(5)}  ${target.padEnd(20)}  ${decision.padEnd(13)}  ${predicted.padStart(12)}  ${(tookMs / 1000).toFixed(2).padStart(8)}   ${isRight ? 'yes' : 'no'}`,
        )
      }
      for (const { target, predictedMs, tookMs } of begun) {
        line(target, 'begun', (predictedMs / 1000).toFixed(2), tookMs, tookMs <= limit * 1000)
        ratios.push(predictedMs / tookMs)
      }
      for (const one of later) {
        const why = refused.find(({ target }) => target === one.target)
        // One that was put off because others came first is rightly left whatever it takes.
        const tooLarge = why?.key === 'too-large'
        line(
          one.target,
          tooLarge ? 'too large' : 'put off',
          why === undefined ? '' : predictedIn(why),
          one.tookMs,
          !tooLarge || one.tookMs > limit * 1000,
        )
      }
    }
    const sorted = ratios.sort((a, b) => a - b)
    const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? NaN).toFixed(2)
    say(
      `predicted over measured, of ${sorted.length} begun: smallest ${at(0)}, median ${at(0.5)}, largest ${at(1)}; ${right} of ${all} decisions right`,
    )
  } finally {
    await database.drop()
    await server.stop()
  }
}

await main()
