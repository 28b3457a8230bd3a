import { formatSize } from '@battlescope/scheduler-core'
import type { RedisName } from '@battlescope/redis'
import { z } from 'zod'
import { within } from '../bounded.js'
import { defineCheck, measured, unknown, type Found } from '../check.js'
import { openTimeoutMs, redisFindings } from './redis-answers.js'

export interface RedisMemory {
  readonly name: RedisName
  /** The fullest of its masters. */
  readonly usedBytes: number
  readonly maxBytes: number
  readonly policy: string
}

export const redisMemory = defineCheck({
  key: 'redis-memory',
  group: 'services',
  description: 'Redis servers whose memory is nearly used up (used_memory against maxmemory).',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 900_000,
  options: {
    ratio: z.number().gt(0).max(1).default(0.75).describe('Share of maxmemory in use, from which on it is found.'),
  },
  hint: 'which keys take the memory (redis-cli --bigkeys, --memkeys)? Raise maxmemory, or let the task cache clean up',
  needs: () => ({ clients: ['redis'] }),
  read: async (context) => {
    const reader = await context.redis()
    const servers = new Map<string, RedisMemory>()
    try {
      const databases = await Promise.all(
        reader.configured.map((name) => within(openTimeoutMs, context.signal, reader.open(name))),
      )
      for (const { name, masters } of databases) {
        for (const master of masters) {
          // Numbered databases share the memory of their server: one finding, not three.
          if (servers.has(master.runId)) continue
          const info = await master.info('memory')
          const policy = info['maxmemory_policy'] ?? master.evictionPolicy
          const [usedBytes, maxBytes] = [Number(info['used_memory']), Number(info['maxmemory'])]
          servers.set(master.runId, { name, usedBytes, maxBytes, policy })
        }
      }
    } catch (error) {
      context.signal.throwIfAborted()
      return unknown('no-answer', error instanceof Error ? error.message : String(error), {
        dependsOn: redisFindings,
      })
    }
    return measured([...servers.values()])
  },
  judge: (servers, { ratio }) =>
    [...fullest(servers)].flatMap(({ name, usedBytes, maxBytes, policy }): Found[] => {
      // Without a limit there is nothing to hold it against: the limit of the pod is its own alert.
      if (maxBytes === 0 || usedBytes < ratio * maxBytes) return []
      const percent = Math.floor((usedBytes / maxBytes) * 100)
      const then = policy === 'noeviction' ? 'it will refuse writes' : `it evicts keys (${policy})`
      const summary = `Redis ${name} uses ${percent} % of its maxmemory of ${formatSize(maxBytes)}; at 100 % ${then}`
      return [{ subject: name, summary, details: { usedBytes, maxBytes, policy } }]
    }),
})

/** One of each name: in a cluster, the master that is fullest. */
function fullest(servers: readonly RedisMemory[]): Iterable<RedisMemory> {
  const byName = new Map<RedisName, RedisMemory>()
  const share = ({ usedBytes, maxBytes }: RedisMemory) => (maxBytes === 0 ? 0 : usedBytes / maxBytes)
  for (const server of servers) {
    const known = byName.get(server.name)
    if (known === undefined || share(server) > share(known)) byName.set(server.name, server)
  }
  return byName.values()
}
