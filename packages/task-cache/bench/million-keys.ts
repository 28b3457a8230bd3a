/** See README.md beside this file. */
import { startRedis, type TestClient } from '@battlescope/redis/testing'
import { createTestDatabase } from '@battlescope/scheduler-testing'
import { Queue, Worker } from 'bullmq'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const bin = (name: string) => join(import.meta.dirname, '../../../node_modules/.bin', name)
const total = Number(process.argv[2] ?? 1_000_000)
const commandsPerSecond = Number(process.argv[3] ?? 10_000)
const jobs = { completed: Math.round(total / 100), failed: Math.round(total / 400), keep: 1000 }
const later = 4e12
const hour = 3_600_000

/** The sizes that V8 takes by itself in a container of 96 MiB, instead of those for a machine's whole memory. */
const containerHeap = ['--max-semi-space-size=1', '--max-old-space-size=48']

/** What a key is, and what must become of it. */
interface Key {
  readonly database: 0 | 1 | 2
  readonly key: string
  readonly value: string
  readonly ttlMs: number | undefined
  readonly expected: 'gone' | 'kept' | 'repaired'
}

function* keys(): Generator<Key> {
  const quarter = Math.floor(total / 4)
  for (let i = 0; i < quarter; i += 1) {
    const isPast = i % 10 >= 6
    const noTtl = i % 10 === 5 || i % 10 === 9
    const value = JSON.stringify({
      accountId: `a${i}`,
      isSuperAdmin: false,
      roles: ['pilot'],
      expiresAt: isPast ? 1 : later,
    })
    const expected = isPast ? 'gone' : noTtl ? 'repaired' : 'kept'
    yield { database: 2, key: `battlescope:session:t${i}`, value, ttlMs: noTtl ? undefined : 8 * hour, expected }
    // Every third pointer has no session at all.
    const isDangling = i % 3 === 0 || isPast
    const target = i % 3 === 0 ? `none${i}` : `t${i}`
    yield {
      database: 2,
      key: `battlescope:account-session:a${i}`,
      value: target,
      ttlMs: 8 * hour,
      expected: isDangling ? 'gone' : 'kept',
    }
  }
  for (let i = 0; i < quarter; i += 1) {
    const noTtl = i % 4 === 0
    const database = i % 2 === 0 ? 0 : 1
    const key = ['universe:names', 'characters:info', 'battlescope:intel:corporation'][i % 3] ?? ''
    yield {
      database,
      key: `${key}:${i}`,
      value: 'x'.repeat(100),
      ttlMs: noTtl ? undefined : hour,
      expected: noTtl ? 'repaired' : 'kept',
    }
  }
  for (let i = 0; i < total - 3 * quarter; i += 1) {
    yield {
      database: (i % 3) as 0 | 1 | 2,
      key: `somebody:else:${i}`,
      value: `{"expiresAt":1}`,
      ttlMs: undefined,
      expected: 'kept',
    }
  }
}

async function inBatches<T>(all: Iterable<T>, work: (batch: readonly T[]) => Promise<unknown>): Promise<void> {
  let batch: T[] = []
  for (const each of all) {
    batch.push(each)
    if (batch.length < 1000) continue
    await work(batch)
    batch = []
  }
  await work(batch)
}

const byDatabase = (
  batch: readonly Key[],
  clients: readonly TestClient[],
  command: (key: Key) => readonly [string, ...(string | number)[]],
) =>
  Promise.all(
    clients.map(async (client, database) => {
      const mine = batch.filter((key) => key.database === database)
      const replies = await client.callAll(mine.map(command))
      return mine.map((key, index) => ({ key, reply: replies[index] }))
    }),
  ).then((parts) => parts.flat())

const quantile = (tookUs: readonly number[], share: number) =>
  Math.round([...tookUs].sort((a, b) => a - b)[Math.floor(tookUs.length * share)] ?? 0)

const say = (text: string) => process.stdout.write(`${text}\n`)

const server = await startRedis({ settings: { maxmemory: '2gb', 'maxmemory-policy': 'allkeys-lru' } })
const database = await createTestDatabase()
const folder = await mkdtemp(join(tmpdir(), 'cache-bench-'))
try {
  const clients = await Promise.all([0, 1, 2].map((number) => server.client(number)))

  say(`filling ${total} keys`)
  await inBatches(keys(), (batch) =>
    byDatabase(batch, clients, ({ key, value, ttlMs }) => [
      'SET',
      key,
      value,
      ...(ttlMs === undefined ? [] : ['PX', ttlMs]),
    ]),
  )
  const connection = { host: '127.0.0.1', port: server.port }
  const queue = new Queue('killmail-enrichment', { connection })
  const numbers = Array.from({ length: jobs.completed + jobs.failed + 100 }, (_, i) => i)
  await inBatches(numbers.slice(0, -100), (batch) =>
    queue.addBulk(batch.map((i) => ({ name: 'enrich-killmail', data: { killmailId: String(i), bad: i % 5 === 0 } }))),
  )
  const worker = new Worker<{ bad: boolean }>(
    'killmail-enrichment',
    async ({ data }) => {
      if (data.bad) throw new Error('zKillboard is down')
    },
    { connection, concurrency: 50 },
  )
  while ((await queue.getJobCounts('waiting', 'active'))['waiting'] !== 0) await sleep(200)
  await worker.close()
  await queue.addBulk(numbers.slice(-100).map((i) => ({ name: 'enrich-killmail', data: { killmailId: String(i) } })))
  const counted = await queue.getJobCounts('completed', 'failed', 'waiting')
  say(`jobs: ${JSON.stringify(counted)}`)
  const digests = new Map<string, string>()
  await inBatches(keys(), async (batch) => {
    const untouched = batch.filter(({ expected }) => expected === 'kept')
    for (const { key, reply } of await byDatabase(untouched, clients, ({ key }) => ['DEBUG', 'DIGEST-VALUE', key]))
      digests.set(key.key, String(reply))
  })

  await run(bin('esbuild'), [
    join(import.meta.dirname, 'one-run.ts'),
    '--bundle',
    '--platform=node',
    '--format=esm',
    '--conditions=@battlescope/source,module',
    '--external:pg-native',
    '--external:pg-cloudflare',
    // As in the program's bundle: pg would load all of fetch to find out that it does not run on Cloudflare.
    '--define:Response=undefined',
    `--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
    `--outfile=${join(folder, 'one-run.mjs')}`,
  ])
  const redis = {
    url: server.urlOf({ database: 0 }),
    esiCacheUrl: server.urlOf({ database: 1 }),
    sessionUrl: server.urlOf({ database: 2 }),
  }
  const defaults = (await import('../src/index.js')).cacheConfig
    .parse({})
    .namespaces.filter(({ policy }) => policy !== 'bullmq')
  const namespaces = [
    ...defaults.map((namespace) => ({
      ...namespace,
      ...(namespace.ttl === undefined ? {} : { ttl: `${namespace.ttl}ms` }),
    })),
    {
      on: ['redis'],
      policy: 'bullmq',
      queue: 'killmail-enrichment',
      completed: { count: jobs.keep },
      failed: { count: jobs.keep },
    },
  ]

  const other = spawn(
    bin('tsx'),
    ['--conditions=@battlescope/source', join(import.meta.dirname, 'other-client.ts'), String(server.port)],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  const lines = createInterface({ input: other.stdout })
  const measure = async (): Promise<readonly number[]> => {
    other.stdin.write('\n')
    const [line] = (await once(lines, 'line')) as [string]
    return JSON.parse(line) as number[]
  }
  await sleep(3000)
  await measure()
  const quiet: number[] = []
  const busy: number[] = []
  let peakRssMiB = 0
  let durationMs = 0
  for (let number = 1; ; number += 1) {
    await sleep(10_000)
    const before = await measure()
    const { stdout } = await run(process.execPath, [
      ...containerHeap,
      join(folder, 'one-run.mjs'),
      database.url,
      JSON.stringify(redis),
      JSON.stringify({ commandsPerSecond, namespaces }),
    ])
    const during = await measure()
    quiet.push(...before)
    busy.push(...during)
    const result = JSON.parse(stdout) as { outcome: string; durationMs: number; peakRssMiB: number }
    say(`run ${number}: ${stdout}; p99 ${quantile(before, 0.99)} µs before, ${quantile(during, 0.99)} µs during`)
    peakRssMiB = Math.max(peakRssMiB, result.peakRssMiB)
    durationMs += result.durationMs
    if (result.outcome !== 'partial') break
  }
  other.kill()

  let wrong = 0
  const became = { gone: 0, kept: 0, repaired: 0 }
  await inBatches(keys(), async (batch) => {
    const ttls = await byDatabase(batch, clients, ({ key }) => ['PTTL', key])
    const after = await byDatabase(batch, clients, ({ key }) => ['DEBUG', 'DIGEST-VALUE', key])
    for (const [index, { key, reply }] of ttls.entries()) {
      const ttl = Number(reply)
      const isRight =
        key.expected === 'gone'
          ? ttl === -2
          : key.expected === 'repaired'
            ? ttl > 0
            : (key.ttlMs === undefined ? ttl === -1 : ttl > 0) && digests.get(key.key) === String(after[index]?.reply)
      became[key.expected] += 1
      if (!isRight && (wrong += 1) <= 5) say(`WRONG: ${key.key} (${key.expected}): ${ttl}`)
    }
  })
  const left = await queue.getJobCounts('completed', 'failed', 'waiting')
  await queue.close()
  say(`keys: ${JSON.stringify(became)}, ${wrong} of them wrong; jobs left: ${JSON.stringify(left)}`)
  say(`the task took ${Math.round(durationMs / 1000)} s in all`)
  const [p99Quiet, p99Busy] = [quantile(quiet, 0.99), quantile(busy, 0.99)]
  say(
    `other client: p50 ${quantile(quiet, 0.5)} → ${quantile(busy, 0.5)} µs, p99 ${p99Quiet} → ${p99Busy} µs, ratio ${(p99Busy / p99Quiet).toFixed(2)} (${quiet.length} and ${busy.length} commands)`,
  )
  say(`peak memory of the task's process: ${peakRssMiB} MiB`)
  process.exitCode = wrong === 0 && p99Busy < 2 * p99Quiet && peakRssMiB < 96 ? 0 : 1
} finally {
  await server.stop()
  await database.drop()
  await rm(folder, { recursive: true })
}
