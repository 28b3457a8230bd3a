/** Somebody else's client: reads and writes at a fixed rate, and says for each line on its input how long each command took since the last. */
import { connectTestClient } from '@battlescope/redis/testing'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const client = await connectTestClient({ port: Number(process.argv[2]), database: 2 })
let tookUs: number[] = []
createInterface({ input: process.stdin }).on('line', () => {
  process.stdout.write(`${JSON.stringify(tookUs)}\n`)
  tookUs = []
})
for (let i = 0; ; i += 1) {
  const startedAt = process.hrtime.bigint()
  if (i % 4 === 0) await client.call('SET', `bench:${i % 1000}`, 'x', 'PX', 60_000)
  else await client.call('GET', `bench:${(i * 7) % 1000}`)
  tookUs.push(Number(process.hrtime.bigint() - startedAt) / 1000)
  await sleep(2)
}
