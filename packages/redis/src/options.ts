import { duration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import type { RedisError } from './redis-error.js'
import { parseRedisUrl } from './redis-url.js'

function url(env: string, what: string) {
  const description = `${what} redis:// or rediss:// (TLS), for a cluster also redis-cluster:// with several hosts.`
  return z
    .string()
    .superRefine((text, context) => {
      try {
        parseRedisUrl(text)
      } catch (error) {
        const { message, hint } = error as RedisError
        context.addIssue({ code: 'custom', message: `${message}; ${hint ?? ''}` })
      }
    })
    .optional()
    .describe(description)
    .meta({ description, env, secret: 'url' })
}

/** The section `redis` of the program's configuration. */
export const redisOptions = z.object({
  url: url('REDIS_URL', 'Redis of BullMQ and of the caches of ingest:'),
  esiCacheUrl: url('ESI_REDIS_CACHE_URL', "Redis of the API's ESI cache:"),
  sessionUrl: url('SESSION_REDIS_URL', 'Redis of the sessions:'),
  tlsCaFile: z
    .string()
    .min(1)
    .optional()
    .describe("File with the certificates (PEM) of the authorities to trust, for rediss://. Default: Node's own list."),
  tlsServerName: z
    .string()
    .min(1)
    .optional()
    .describe('Name that certificates must be for, where it is not the host of the URL.'),
  connectTimeout: duration().prefault('5s').describe('How long connecting may take.'),
  commandTimeout: duration().prefault('5s').describe('How long one command may take.'),
})

export type RedisOptions = z.output<typeof redisOptions>
