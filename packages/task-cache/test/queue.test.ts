import { missingRedisServer, startRedis, type TestClient, type TestRedis } from '@battlescope/redis/testing'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { FlowProducer, Queue, Worker, type Job } from 'bullmq'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { actionsOf, dumpAll, runCache, type CacheRun } from './redis-support.js'

const missing = await missingRedisServer()

describe(`a BullMQ queue${missing}`, { skip: missing !== '' }, () => {
  let server: TestRedis
  let client: TestClient
  let database: TestDatabase
  let queue: Queue
  const closing: { close(): Promise<unknown> }[] = []
  beforeAll(async () => {
    server = await startRedis()
    client = await server.client()
    database = await createTestDatabase()
  })
  afterAll(async () => {
    await server.stop()
    await database.drop()
  })
  const connection = () => ({ host: '127.0.0.1', port: server.port })
  beforeEach(async () => {
    await database.query('DROP SCHEMA IF EXISTS scheduler CASCADE')
    await client.call('FLUSHALL')
    queue = new Queue('mails', { connection: connection() })
    closing.push(queue)
  })
  afterEach(async () => {
    for (const each of closing.splice(0).reverse()) await each.close()
  })

  /** Has every waiting job done; those named `bad` fail. */
  async function work(name = 'mails'): Promise<void> {
    const worker = new Worker(
      name,
      async (job: Job) => {
        if (job.name === 'bad') throw new Error('bad')
        await job.log('done')
        return 'fine'
      },
      { connection: connection(), concurrency: 20 },
    )
    await new Promise<void>((resolve) => void worker.on('drained', () => resolve()))
    await worker.close()
  }
  const add = (name: string, count: number, options: object = {}) =>
    queue.addBulk(Array.from({ length: count }, (_, i) => ({ name, data: { i }, opts: options })))
  const run = (namespace: object, more: Partial<CacheRun> = {}) =>
    runCache(database, {
      urls: { url: server.url },
      options: { namespaces: [{ on: ['redis'], policy: 'bullmq', queue: 'mails', ...namespace }] },
      ...more,
    })

  /** Jobs that are waiting, delayed and active beside the finished ones. */
  async function mixed(): Promise<{ active: Job; token: string }> {
    await add('good', 30)
    await add('bad', 20)
    await work()
    await add('later', 3, { delay: 3_600_000 })
    await add('first', 4, { priority: 1 })
    await add('good', 5)
    const worker = new Worker('mails', null, { connection: connection() })
    closing.push(worker)
    const active = await worker.getNextJob('token')
    return { active, token: 'token' }
  }

  it('keeps everything by default', async () => {
    await mixed()
    const before = await client.call('DEBUG', 'DIGEST')
    const ran = await runCache(database, {
      urls: { url: server.url },
      options: { namespaces: [{ on: ['redis'], policy: 'bullmq', queue: 'mails' }] },
    })
    expect(actionsOf(ran)).toEqual([])
    expect(await client.call('DEBUG', 'DIGEST')).toBe(before)
    expect(ran.task.run?.metrics.find(({ name }) => name === 'namespace_keys')?.value).toBeGreaterThan(60)
  })

  it('loses the configured states beyond their count, and works on', async () => {
    const { active, token } = await mixed()
    const others = Object.fromEntries(
      Object.entries(await dumpAll(client)).filter(([key]) =>
        /:(wait|delayed|active|prioritized|pc|meta|id)$/.test(key),
      ),
    )
    const ran = await run({ completed: { count: 10 }, failed: { count: 0 } })
    expect(ran.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(actionsOf(ran)).toEqual([
      'trim-completed-jobs redis bull:mails:*: 20 jobs beyond age or count',
      'trim-failed-jobs redis bull:mails:*: 20 jobs beyond age or count',
    ])
    expect(await queue.getJobCounts('completed', 'failed', 'delayed', 'prioritized', 'active', 'waiting')).toEqual({
      completed: 10,
      failed: 0,
      delayed: 3,
      prioritized: 4,
      active: 1,
      waiting: 4,
    })
    // The newest stay, whole, with their logs; of the others nothing does.
    const completed = await queue.getCompleted()
    expect(completed.every(({ returnvalue }) => returnvalue === 'fine')).toBe(true)
    expect(((await client.call('KEYS', 'bull:mails:*:logs')) as string[]).length).toBe(10)
    expect(Object.entries(await dumpAll(client)).filter(([key]) => key in others)).toEqual(Object.entries(others))
    expect(actionsOf(await run({ completed: { count: 10 }, failed: { count: 0 } }))).toEqual([])

    await active.moveToCompleted('fine', token, false)
    await work()
    expect((await queue.getJobCounts('completed', 'waiting')).waiting).toBe(0)
  })

  it('loses what finished too long ago', async () => {
    await add('good', 10)
    await work()
    expect(actionsOf(await run({ completed: { age: '1h' } }))).toEqual([])
    // Some finished two hours ago.
    const jobs = (await queue.getCompleted()).slice(0, 4)
    for (const { id } of jobs) {
      await client.call('ZADD', 'bull:mails:completed', Date.now() - 7_200_000, id!)
      await client.call('HSET', `bull:mails:${id}`, 'finishedOn', Date.now() - 7_200_000)
    }
    await run({ completed: { age: '1h' } })
    const left = (await queue.getCompleted()).map(({ id }) => id)
    expect(left).toHaveLength(6)
    expect(left.filter((id) => jobs.some((job) => job.id === id))).toEqual([])
  })

  it('loses nothing in a dry run', async () => {
    await add('good', 10)
    await work()
    const before = await client.call('DEBUG', 'DIGEST')
    expect(actionsOf(await run({ completed: { count: 2 } }, { dryRun: true }))).toEqual([
      'trim-completed-jobs redis bull:mails:*: 8 jobs beyond age or count',
    ])
    expect(await client.call('DEBUG', 'DIGEST')).toBe(before)
  })

  it('keeps a failed child whose parent waits for it, with its parent', async () => {
    const flow = new FlowProducer({ connection: connection() })
    closing.push(flow)
    await flow.add({
      name: 'parent',
      queueName: 'mails',
      children: [{ name: 'bad', queueName: 'mails', opts: { jobId: 'child' } }],
    })
    await add('bad', 40)
    await work()
    expect(await queue.getJobCounts('failed', 'waiting-children')).toEqual({ failed: 41, 'waiting-children': 1 })
    const ran = await run({ failed: { count: 0 } })
    expect(await queue.getJobCounts('failed', 'waiting-children')).toEqual({ failed: 1, 'waiting-children': 1 })
    expect(await (await queue.getJob('child'))?.getState()).toBe('failed')
    expect(ran.task.run?.findings).toMatchObject([{ key: 'queues-not-trimmed' }])
    // It is retried, succeeds, and its parent runs.
    await (await queue.getJob('child'))?.retry()
    await client.call('HSET', 'bull:mails:child', 'name', 'good')
    await work()
    expect(await queue.getJobCounts('failed', 'waiting-children')).toEqual({
      failed: 0,
      'waiting-children': 0,
    })
  })

  it('keeps a job that is retried between look and act', async () => {
    await add('bad', 1, { jobId: 'retried' })
    await add('bad', 3)
    await work()
    let done = false
    await run(
      { failed: { count: 0 } },
      {
        disturb: (master) => ({
          evaluate: async (...args) => {
            if (!done) {
              done = true
              await (await queue.getJob('retried'))?.retry()
            }
            return master.evaluate(...args)
          },
        }),
      },
    )
    expect(await queue.getJobCounts('failed', 'waiting')).toEqual({ failed: 0, waiting: 1 })
    expect(await (await queue.getJob('retried'))?.getState()).toBe('waiting')
  })

  it('is left alone when a newer BullMQ made it', async () => {
    await add('good', 5)
    await work()
    await client.call('HSET', 'bull:mails:meta', 'version', 'bullmq:7.0.0')
    const ran = await run({ completed: { count: 0 } })
    expect((await queue.getJobCounts('completed')).completed).toBe(5)
    expect(ran.task.run?.findings).toMatchObject([{ key: 'queues-not-trimmed' }])
  })
})
