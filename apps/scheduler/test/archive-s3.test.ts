/** Retention and the commands of cold storage, by the built program, over S3: requests are signed, and checksums are held against bytes. */
import { accessKeyId, bucket, secretAccessKey, StrictS3 } from '@battlescope/cold-storage/testing'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { battlescope, records, type Ended } from './support.js'

let s3: StrictS3
let database: TestDatabase

beforeAll(async () => {
  s3 = await StrictS3.start()
})
afterAll(() => s3.stop())

/** Twenty expired killmails of two months, and a young one, because the newest stays. */
beforeEach(async () => {
  s3.reset()
  database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
  await database.query(`
    CREATE INDEX ON killmail_events (battle_id) WHERE battle_id IS NOT NULL;
    CREATE INDEX ON killmail_events (occurred_at);
    CREATE INDEX ON battles (end_time);
    INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at, isk_value)
    SELECT k, 30000000 + k % 3, '2020-03-20'::timestamptz + k * interval '1 day', '', '2020-05-01', '2020-05-01', k * 1000.5
    FROM generate_series(1, 20) k;
    INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at) VALUES (99, 1, now(), '', now(), now());
    INSERT INTO killmail_enrichments (killmail_id, status, payload) SELECT killmail_id, 'succeeded', '{"a": [1, null]}' FROM killmail_events;
    ANALYZE`)
})
afterEach(() => database.drop())

const store = () => ({
  SCHEDULER_COLD_STORAGE_URL: `s3://${bucket}/old/killmails`,
  SCHEDULER_COLD_STORAGE_ENDPOINT: s3.endpoint,
  SCHEDULER_COLD_STORAGE_ACCESS_KEY_ID: accessKeyId,
  SCHEDULER_COLD_STORAGE_SECRET_ACCESS_KEY: secretAccessKey,
})
const retain = (changes: Record<string, string> = {}) =>
  battlescope(['run', '--task', 'retention', '--force'], {
    DATABASE_URL: database.url,
    SCHEDULER_TASKS: 'retention',
    ...store(),
    ...changes,
  })
const archive = (...argv: string[]) => battlescope(['archive', ...argv], { DATABASE_URL: database.url, ...store() })

/** Everything of every killmail, as one text. */
async function content(): Promise<string | undefined> {
  const [row] = await database.query<{ content: string }>(`
    SELECT string_agg(e::text || n::text, ' ' ORDER BY killmail_id) AS content
    FROM killmail_events e JOIN killmail_enrichments n USING (killmail_id)`)
  return row?.content
}

/** The one finding of the task. */
function finding(ran: Ended): unknown {
  const ended = records(ran.stdout + ran.stderr).find(({ event }) => event === 'task-ended')
  expect(ended?.['findings'], ran.stdout + ran.stderr).toHaveLength(1)
  return (ended?.['findings'] as unknown[])[0]
}

const objectsLike = (pattern: RegExp) => [...s3.objects.keys()].filter((key) => pattern.test(key))

it('archives, lists, verifies, takes over and restores what was deleted', async () => {
  const before = await content()
  const ran = await retain()
  expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
  expect(await content()).not.toBe(before)
  expect(objectsLike(/^old\/killmails\/data\/.*\.parquet$/)).toHaveLength(4)
  expect(s3.uploads.size).toBe(0)

  expect((await archive('list', '--objects')).stdout.split('\n')).toEqual(
    objectsLike(/\.parquet$/)
      .map((key) => `s3://${bucket}/${key}`)
      .sort(),
  )
  const verified = await archive('verify', '--deep')
  expect(verified.exitCode, verified.stdout + verified.stderr).toBe(0)

  await database.query('DROP SCHEMA scheduler CASCADE')
  expect((await archive('adopt')).exitCode).toBe(80)
  const adopted = await archive('adopt', '--yes')
  expect(adopted.exitCode, adopted.stdout + adopted.stderr).toBe(0)
  const restored = await archive('restore', '--from', '2020-03', '--to', '2020-04')
  expect(restored.exitCode, restored.stdout + restored.stderr).toBe(0)
  expect(await content()).toBe(before)
})

it('finds an object whose bytes are others than were written', async () => {
  expect((await retain()).exitCode).toBe(0)
  const [victim = ''] = objectsLike(/\.parquet$/)
  const stored = s3.objects.get(victim)!
  const body = Buffer.from(stored.body)
  body[20] = (body[20] ?? 0) ^ 1
  s3.objects.set(victim, { ...stored, body, checksum: undefined })
  const { stdout, exitCode } = await archive('verify')
  expect(exitCode).toBe(80)
  expect(stdout).toContain('object-differs')
  expect(stdout).toContain(victim.slice('old/killmails/'.length))
})

it.each([
  ['loses a byte of an object', { kind: 'lose-byte' }],
  ['answers reads with another byte', { kind: 'flip-byte' }],
  ['is out of order', { kind: 'status', status: 503, code: 'SlowDown' }],
] as const)('deletes nothing while the store %s, and everything afterwards', async (_, misbehaviour) => {
  const before = await content()
  s3.misbehave({
    on: ({ method, key }) => key.endsWith('.parquet') && (misbehaviour.kind === 'flip-byte') === (method === 'GET'),
    times: Infinity,
    misbehaviour,
  })
  const failed = await retain({ SCHEDULER_COLD_STORAGE_ATTEMPTS: '2' })
  expect(finding(failed)).toMatchObject({ key: 'store-failed', severity: 'error' })
  expect(await content()).toBe(before)
  s3.misbehave()
  const ran = await retain()
  expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
  expect((await archive('verify', '--deep')).exitCode).toBe(0)
  expect((await archive('restore', '--from', '2020-03', '--to', '2020-04')).exitCode).toBe(0)
  expect(await content()).toBe(before)
})

it('says what may be wrong when it is refused, and never the secret', async () => {
  const refused = await retain({ SCHEDULER_COLD_STORAGE_SECRET_ACCESS_KEY: 'not-the-secret-of-this-key' })
  expect(finding(refused)).toMatchObject({
    key: 'store-failed',
    summary: expect.stringContaining('cannot look at owner.json: the answer gives no reason, status 403') as string,
    details: { code: 'store-denied', hint: expect.stringContaining('the key or its secret is wrong') as string },
  })
  expect(refused.stdout + refused.stderr).not.toContain('not-the-secret')
})
