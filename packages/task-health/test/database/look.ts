/** Makes one check on a real server, without the task around it. */
import { createRequire } from 'node:module'
import { realpathSync } from 'node:fs'
import { openConnections } from '@battlescope/database'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { AnyCheck, CheckContext, Found } from '../../src/check.js'

export interface Look<Memory = unknown> {
  readonly found: readonly Found[]
  readonly gauges: Readonly<Record<string, number>>
  readonly memory: Memory
}

export interface LookOptions {
  readonly url: string
  readonly options?: Readonly<Record<string, unknown>>
  readonly now?: Date
  readonly memory?: unknown
  /** Milliseconds that the clock of this machine is ahead of what it is. */
  readonly hostAheadMs?: number
}

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

export async function look(
  check: AnyCheck,
  { url, options = {}, now = new Date(0), memory, hostAheadMs = 0 }: LookOptions,
): Promise<Look> {
  const connections = openConnections({ url, applicationName: 'health-test' })
  const given = { ...z.object(check.options as z.ZodRawShape).parse({}), ...options } as never
  try {
    const outcome = await check.read(
      {
        db: connections.reader({ statementTimeoutMs: 1000 }) as Kysely<unknown>,
        stateSchema: 'scheduler',
        // Another object each time: what is shared within a run must not be shared between two.
        now: new Date(now),
        memory: memory === undefined ? undefined : { at: now, value: memory },
        monotonicMs: () => performance.now(),
        hostNow: () => new Date(Date.now() + hostAheadMs),
        signal: new AbortController().signal,
        logger: silent,
      } as unknown as CheckContext,
      given,
    )
    if (outcome.outcome !== 'measured') throw new Error(`${outcome.outcome}: ${outcome.reason}`)
    return {
      found: check.judge(outcome.reading, given),
      gauges: check.gauges?.(outcome.reading, given) ?? {},
      memory: outcome.memory,
    }
  } finally {
    await connections.close()
  }
}

export interface Client {
  connect(): Promise<void>
  query<Row = Record<string, unknown>>(sql: string): Promise<{ rows: Row[] }>
  end(): Promise<void>
}

/** A session of its own. The driver is that of the package that makes test databases. */
export async function openSession(url: string, application = 'somebody'): Promise<Client> {
  const load = createRequire(`${realpathSync('node_modules/@battlescope/scheduler-testing')}/package.json`)
  const { Client: PgClient } = load('pg') as {
    Client: new (options: object) => Client & { on(event: string, listener: () => void): void }
  }
  const client = new PgClient({ connectionString: url, application_name: application })
  client.on('error', () => undefined)
  await client.connect()
  return client
}
