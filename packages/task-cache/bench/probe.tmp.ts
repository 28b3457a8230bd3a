import { startRedis } from '@battlescope/redis/testing'
import { createTestDatabase } from '@battlescope/scheduler-testing'
import { spawnSync } from 'node:child_process'
const n = Number(process.argv[2])
const server = await startRedis()
const database = await createTestDatabase()
const client = await server.client()
for (let i = 0; i < n; i += 1000)
  await client.callAll(
    Array.from({ length: 1000 }, (_, j) => [
      'SET',
      `battlescope:session:${i + j}`,
      JSON.stringify({ a: 'x', expiresAt: j % 3 === 0 ? 1 : 4e12 }),
      'EX',
      9000,
    ]),
  )
const r = spawnSync(
  '/usr/bin/env',
  [
    'bash',
    '-c',
    `time node ${process.argv[3] ?? ''} /tmp/one-run.mjs '${database.url}' '{"sessionUrl":"${server.url}"}' '{"commandsPerSecond":${process.argv[4] ?? 10000}}'`,
  ],
  { encoding: 'utf8' },
)
console.log(r.stdout.slice(-3000), r.stderr.slice(-2000))
await server.stop()
await database.drop()
