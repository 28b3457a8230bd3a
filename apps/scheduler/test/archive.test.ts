/** The commands of cold storage, by the built program, over a folder. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { battlescope } from './support.js'

let database: TestDatabase
let folder: string

/** Ten killmails of two months, one battle of five of them; and a young killmail and battle, because the newest of each stays. */
const seed = `
  CREATE INDEX ON killmail_events (battle_id) WHERE battle_id IS NOT NULL;
  CREATE INDEX ON killmail_events (occurred_at);
  CREATE INDEX ON battles (end_time);
  INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url, created_at)
  VALUES ('00000000-0000-4000-8000-000000000001', 1, '2020-03-05', '2020-03-05 01:00', 5, '', '2020-03-05'),
    ('00000000-0000-4000-8000-000000000002', 1, now(), now(), 0, '', now());
  INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at, battle_id, isk_value)
  SELECT k, 30000000 + k % 3, CASE WHEN k <= 5 THEN '2020-03-05'::timestamptz ELSE '2020-04-05' END + k * interval '1 minute', '', '2020-05-01', '2020-05-01',
    CASE WHEN k <= 5 THEN '00000000-0000-4000-8000-000000000001'::uuid END, k * 1000.5
  FROM generate_series(1, 10) k;
  INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at) VALUES (99, 1, now(), '', now(), now());
  INSERT INTO killmail_enrichments (killmail_id, status, payload) SELECT killmail_id, 'succeeded', '{"a": [1, null]}' FROM killmail_events;
  INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, attacker_alliance_ids)
  SELECT battle_id, killmail_id, '', occurred_at, '{1,2}' FROM killmail_events WHERE battle_id IS NOT NULL;
  ANALYZE`

async function archiveAll(): Promise<void> {
  database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
  await database.query(seed)
  folder = mkdtempSync(join(tmpdir(), 'archive-command-'))
  const ran = await battlescope(['run', '--task', 'retention', '--force'], {
    ...environment(),
    SCHEDULER_TASKS: 'retention',
  })
  expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
}

async function removeAll(): Promise<void> {
  await database.drop()
  rmSync(folder, { recursive: true, force: true })
}

/** Retention is not among the tasks: commands do not need it to be. */
const environment = () => ({ DATABASE_URL: database.url, SCHEDULER_COLD_STORAGE_URL: pathToFileURL(folder).href })
const archive = (...argv: string[]) => battlescope(['archive', ...argv], environment())

async function json<T>(exitCode: number, ...argv: string[]): Promise<T> {
  const ended = await archive(...argv, '--json')
  expect(ended.exitCode, ended.stderr + ended.stdout).toBe(exitCode)
  return JSON.parse(ended.stdout) as T
}

const files = () =>
  (readdirSync(join(folder, 'data'), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.parquet'))
    .map((name) => join(folder, 'data', name))
    .sort()

const count = async (table: string) => {
  const [row] = await database.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${table}`)
  return row?.count
}

interface Listed {
  readonly source: string
  readonly months: readonly {
    readonly relation: string
    readonly month: string
    readonly state: string
    readonly rows: number
  }[]
}

const listed = ({ months }: Listed) => months.map(({ relation, month, state, rows }) => [relation, month, state, rows])

const all = [
  ['public.battle_killmails', '2020-03', 'archived', 5],
  ['public.battles', '2020-03', 'archived', 1],
  ['public.killmail_enrichments', '2020-03', 'archived', 5],
  ['public.killmail_enrichments', '2020-04', 'archived', 5],
  ['public.killmail_events', '2020-03', 'archived', 5],
  ['public.killmail_events', '2020-04', 'archived', 5],
]

describe('archive list', () => {
  beforeEach(archiveAll)
  afterEach(removeAll)

  it('shows what is archived by relation and month, the same with the catalog and without', async () => {
    const known = await json<Listed>(0, 'list')
    expect(known.source).toBe('catalog')
    expect(listed(known)).toEqual(all)
    const alone = await battlescope(['archive', 'list', '--manifests-only', '--json'], {
      SCHEDULER_COLD_STORAGE_URL: environment().SCHEDULER_COLD_STORAGE_URL,
    })
    expect(alone.exitCode, alone.stderr).toBe(0)
    expect({ ...(JSON.parse(alone.stdout) as Listed), source: 'catalog' }).toEqual(known)
    expect(listed(await json<Listed>(0, 'list', '--relation', 'battles', '--from', '2020-03'))).toEqual([all[1]])
    expect((await archive('list', '--to', '2020-02')).stdout).toBe('nothing is archived')
    expect((await archive('list')).stdout).toMatch(/public\.killmail_events +2020-03 +archived +1 +1 +5 /)
  })

  it('names objects as readers of Parquet take them', async () => {
    const { stdout } = await archive('list', '--objects')
    expect(stdout.split('\n')).toEqual(files())
    expect((await archive('list', '--objects', '--manifests-only')).stdout).toBe(stdout)
  })
})

describe('archive verify', () => {
  beforeEach(archiveAll)
  afterEach(removeAll)

  it('is content where all is well, and ends with 80 where something is not', async () => {
    for (const depth of ['--quick', '--deep']) {
      const { stdout, exitCode } = await archive('verify', depth)
      expect(exitCode).toBe(0)
      expect(stdout).toMatch(
        /^6 objects of 3 batches \(26 rows, .*\) .* held against catalog and manifests: all as it should be$/,
      )
    }
    const [victim = ''] = files()
    const bytes = readFileSync(victim)
    bytes[20] = (bytes[20] ?? 0) ^ 1
    writeFileSync(victim, bytes)
    const report = await json<{ findings: { kind: string; name: string }[] }>(80, 'verify')
    expect(report.findings).toMatchObject([{ kind: 'object-differs', name: victim.slice(folder.length + 1) }])
    expect((await archive('verify', '--from', '2020-04')).exitCode).toBe(0)
    const { stdout } = await archive('verify', '--manifests-only')
    expect(stdout).toContain('error object-differs')
  })

  it('says that the catalog is lost, and uses the manifests', async () => {
    await database.query('DROP SCHEMA scheduler CASCADE')
    const { stdout, exitCode } = await archive('verify')
    expect(exitCode).toBe(80)
    expect(stdout).toContain('the catalog knows of no archive, and the store has one')
    expect(stdout).toContain('6 objects of 3 batches')
  })
})

describe('archive restore', () => {
  beforeEach(archiveAll)
  afterEach(removeAll)

  it('brings back the months that were asked for, and holds them', async () => {
    const dry = await archive('restore', '--from', '2020-03', '--to', '2020-03', '--dry-run')
    expect(dry.exitCode, dry.stderr).toBe(0)
    expect(dry.stdout).toContain('restore-rows public.killmail_events')
    expect(await count('killmail_events')).toBe(1)

    const report = await json<{ relations: unknown; outcome: string }>(
      0,
      'restore',
      '--from',
      '2020-03',
      '--to',
      '2020-03',
      '--hold',
      '90d',
    )
    expect(report).toMatchObject({
      outcome: 'succeeded',
      relations: [
        { relation: 'public.battle_killmails', inserted: 5, alreadyThere: 0 },
        { relation: 'public.battles', inserted: 1, alreadyThere: 0 },
        { relation: 'public.killmail_enrichments', inserted: 5, alreadyThere: 0 },
        { relation: 'public.killmail_events', inserted: 5, alreadyThere: 0 },
      ],
    })
    expect(await count('killmail_events')).toBe(6)
    expect(
      await count(
        `scheduler.archive_hold WHERE until BETWEEN now() + interval '89 days' AND now() + interval '90 days'`,
      ),
    ).toBe(2)
    expect((await archive('verify')).exitCode).toBe(0)
    expect(listed(await json<Listed>(0, 'list', '--relation', 'battles'))).toEqual([
      ['public.battles', '2020-03', 'restored', 1],
    ])
    expect((await archive('restore', '--from', '2020-03', '--to', '2020-03')).exitCode).toBe(0)
  })

  it('ends with 75 while retention runs elsewhere, and says who paused it', async () => {
    await database.query(`
      UPDATE scheduler.task SET ticket = gen_random_uuid(), revision = revision + 1 WHERE name = 'retention';
      INSERT INTO scheduler.claim (ticket, task, run_id, slot_id, slot_at, holder, uses_direct, expires_at)
      SELECT ticket, name, gen_random_uuid(), 'retention@x', now(), 'elsewhere/1', false, now() + interval '1 hour'
      FROM scheduler.task WHERE name = 'retention'`)
    expect((await archive('restore', '--from', '2020-03', '--to', '2020-03')).exitCode).toBe(75)
    expect(await count('killmail_events')).toBe(1)
    await database.query(`UPDATE scheduler.task SET ticket = NULL; DELETE FROM scheduler.claim`)
    expect(
      (await battlescope(['pause', 'retention'], { ...environment(), SCHEDULER_TASKS: 'retention' })).exitCode,
    ).toBe(0)
    const { stderr, exitCode } = await archive('restore', '--from', '2020-03', '--to', '2020-03')
    expect(exitCode).toBe(75)
    expect(stderr).toContain('`resume retention` ends the pause')
  })

  it('ends with 80 when rows could not come back, and says why', async () => {
    await database.query('ALTER TABLE killmail_enrichments DROP COLUMN error')
    const { stdout, exitCode } = await archive('restore', '--from', '2020-04', '--to', '2020-04')
    expect(exitCode).toBe(80)
    expect(stdout).toContain('has no column error any more')
    expect(stdout).toContain('--ignore-dropped-columns')
    const second = ['restore', '--from', '2020-04', '--to', '2020-04', '--ignore-dropped-columns']
    expect((await archive(...second)).exitCode).toBe(0)
    expect(await count('killmail_enrichments')).toBe(6)
  })
})

describe('a wrong command line', () => {
  beforeAll(archiveAll)
  afterAll(removeAll)

  it.each([
    [['restore', '--from', '2020-03'], /Missing required argument: to/],
    [['restore', '--from', '2020-04', '--to', '2020-03'], /--from: 2020-04 is after --to 2020-03/],
    [['restore', '--from', '2020-3', '--to', '2020-04'], /--from: '2020-3' is no month/],
    [['restore', '--from', '2020-03', '--to', '2020-04', '--hold', 'long'], /--hold: 'long' is no duration/],
    [
      ['restore', '--from', '2020-03', '--to', '2020-04', '--relation', 'killmail_enrichments'],
      /is archived together with public\.killmail_events/,
    ],
    [
      ['restore', '--from', '2020-03', '--to', '2020-04', '--relation', 'battle'],
      /nothing of public\.battle is archived/,
    ],
    [['verify', '--quick', '--deep'], /mutually exclusive/],
    [[], /archive needs one of/],
  ])('refuses archive %j', async (argv, message) => {
    const { stderr, exitCode } = await archive(...argv)
    expect(exitCode).toBe(64)
    expect(stderr).toMatch(message)
    expect(stderr).toContain('hint: ')
  })
})

describe('archive adopt', () => {
  beforeEach(archiveAll)
  afterEach(removeAll)

  it('shows both sides, and takes the prefix over with --yes', async () => {
    expect((await archive('adopt')).stdout).toContain('the prefix is this database’s')
    await database.query('DROP SCHEMA scheduler CASCADE')
    const shown = await archive('adopt')
    expect(shown.exitCode).toBe(80)
    expect(shown.stdout).toContain('never archived')
    expect(shown.stdout).toContain('3 batches in the store are unknown to this database')
    const done = await archive('adopt', '--yes')
    expect(done.exitCode, done.stdout + done.stderr).toBe(0)
    expect(done.stdout).toContain('3 batches came into the catalog')
    expect((await archive('verify', '--deep')).exitCode).toBe(0)
    expect((await archive('restore', '--from', '2020-01', '--to', '2020-12')).exitCode).toBe(0)
    expect(await count('killmail_events')).toBe(11)
  })

  it('ends with 78 without a store', async () => {
    const { stderr, exitCode } = await battlescope(['archive', 'adopt'], { DATABASE_URL: database.url })
    expect(exitCode).toBe(78)
    expect(stderr).toContain('SCHEDULER_COLD_STORAGE_URL')
  })
})
