/** The driver. Imported dynamically by open-redis.ts, so that a run that needs no Redis never evaluates it. */
import { Redis } from 'ioredis'
import type { Command, Link, LinkOptions } from './link.js'

/** Connects once: a short process has no use for reconnecting, nor for a queue of commands that wait for it. */
export async function connectIoredis(options: LinkOptions): Promise<Link> {
  const client = new Redis({
    host: options.host,
    port: options.port,
    connectTimeout: options.connectTimeoutMs,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Its INFO, HELLO and CLIENT SETINFO need rights that we may not have; credentials are sent by us, so that errors can be told apart.
    enableReadyCheck: false,
    disableClientInfo: true,
    protocol: 2,
    ...(options.tls === undefined
      ? {}
      : {
          tls: {
            rejectUnauthorized: true,
            // The name in SNI must be none where the host is an address.
            ...(/^[\d.]+$|:/.test(options.tls.serverName) ? {} : { servername: options.tls.serverName }),
            ...(options.tls.ca === undefined ? {} : { ca: options.tls.ca }),
          },
        }),
  })
  let lastError: Error | undefined
  client.on('error', (error: Error) => {
    lastError = error
  })
  try {
    await client.connect()
  } catch (error) {
    client.disconnect()
    // `connect` itself says no more than that the connection is closed.
    throw lastError ?? (error as Error)
  }
  // One write for all of them, as a pipeline would do. ioredis' own pipelines chain their commands, so that all of them outlive every
  // young collection: a walk over many keys would take 60 MiB more.
  const sendAll = async (commands: readonly Command[]): Promise<readonly unknown[]> => {
    client.stream.cork()
    const sent = commands.map(([name, ...args]) => client.call(name, ...args))
    client.stream.uncork()
    const replies = await Promise.allSettled(sent)
    return replies.map((reply) => (reply.status === 'fulfilled' ? reply.value : replyError(reply.reason)))
  }
  return {
    sendAll,
    async transaction(commands) {
      const replies = await sendAll([['multi'], ...commands, ['exec']])
      const last = replies.at(-1)
      if (last === null || Array.isArray(last)) return last as unknown[] | null
      // EXECABORT says no more than that something was refused before: that is the error to know.
      throw (replies.find((reply) => reply instanceof Error) ?? last) as Error
    },
    close() {
      client.disconnect()
    },
  }
}

/** Error replies are values; anything else means that the connection is gone. */
function replyError(error: unknown): unknown {
  if ((error as { name?: unknown } | undefined)?.name !== 'ReplyError') throw error
  return error
}
