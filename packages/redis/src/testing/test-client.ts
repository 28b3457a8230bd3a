/** A plain client for tests: every command, no guard. What tests prepare and check must not pass through what they test. */
import { Redis } from 'ioredis'

export interface TestClient {
  call(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown>
  /** Sends many commands at once. @throws the first error reply */
  callAll(commands: readonly (readonly [string, ...(string | number)[]])[]): Promise<readonly unknown[]>
  close(): void
}

export async function connectTestClient(options: {
  readonly port: number
  readonly database?: number
  readonly password?: string
  readonly ca?: string
}): Promise<TestClient> {
  const client = new Redis({
    host: '127.0.0.1',
    port: options.port,
    db: options.database ?? 0,
    protocol: 2,
    lazyConnect: true,
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: () => null,
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.ca === undefined ? {} : { tls: { ca: options.ca } }),
  })
  client.on('error', () => undefined)
  await client.connect()
  return {
    call: (command, ...args) => client.call(command, ...args),
    async callAll(commands) {
      const replies =
        (await client.pipeline(commands.map(([name, ...args]) => [name.toLowerCase(), ...args])).exec()) ?? []
      return replies.map(([error, reply]) => {
        if (error !== null) throw error
        return reply
      })
    },
    close() {
      client.disconnect()
    },
  }
}
