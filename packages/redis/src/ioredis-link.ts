/** The driver. Imported dynamically by open-redis.ts, so that a run that needs no Redis never evaluates it. */
import { Redis } from 'ioredis'
import type { Argument, Command, Link, LinkOptions } from './link.js'

/** Connects once: a short process has no use for reconnecting, nor for a queue of commands that wait for it. */
export async function connectIoredis(options: LinkOptions): Promise<Link> {
  const client = new Redis({
    host: options.host,
    port: options.port,
    connectTimeout: options.connectTimeoutMs,
    commandTimeout: options.commandTimeoutMs,
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
  return {
    async sendAll(commands) {
      const batch = commands.map((command) => [...command] as [string, ...Argument[]])
      const replies = (await client.pipeline(batch).exec()) ?? []
      return replies.map(([error, reply]) => connectionIsFine(error) ?? reply)
    },
    async scan(args) {
      return (await client.callBuffer('scan', ...args)) as [Uint8Array, Uint8Array[]]
    },
    async transaction(commands) {
      const batch = commands.map((command: Command) => [...command] as [string, ...Argument[]])
      const replies = await client.multi(batch).exec()
      return replies === null ? null : replies.map(([error, reply]) => connectionIsFine(error) ?? reply)
    },
    close() {
      client.disconnect()
    },
  }
}

/** Error replies are values; anything else means that the connection is gone, or answers too late to be trusted any more. */
function connectionIsFine(error: Error | null): Error | undefined {
  if (error === null) return undefined
  if (error.name !== 'ReplyError') throw error
  return error
}
