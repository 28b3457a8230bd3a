/** What a run is told of alerts: where they go, how they behave, and how this database is called while it cannot be asked. */
import { parseConnectionString } from '@battlescope/database'
import {
  defaultAlertPolicy,
  systemTimer,
  tellOutage,
  type AlertInput,
  type TaskLogger,
} from '@battlescope/scheduler-core'
import { httpClientFactory } from '../clients/http.js'
import { proxiesFor } from '../clients/proxies.js'
import type { Configuration } from '../configuration/load.js'
import type { Host } from '../host.js'
import { alertRouting } from './routing.js'

export async function alertInput(
  host: Pick<Host, 'environment' | 'secrets'>,
  configuration: Configuration,
): Promise<AlertInput> {
  const database = databaseName(configuration)
  const proxies = proxiesFor(host)
  return {
    routing: await alertRouting(configuration, database),
    policy: configuration.section('alerts') ?? defaultAlertPolicy,
    database,
    http: async () => {
      const opened = await httpClientFactory(proxies)
      return { client: opened.write, close: () => opened.close() }
    },
  }
}

/** Host, port and database of the connection string: no user, no password. */
function databaseName({ program }: Configuration): string {
  if (program.databaseUrl === undefined) return ''
  const { host, port, database } = parseConnectionString(program.databaseUrl)
  return `${host}:${port}/${database}`
}

/**
 * A run that ends because PostgreSQL cannot be reached tells so itself: nothing else can. What it cannot tell is logged, and changes no
 * exit code.
 * @param remainingMs milliseconds that this process still has
 */
export async function tellOfOutage(
  host: Host,
  configuration: Configuration,
  logger: TaskLogger,
  outage: { readonly reason: string; readonly remainingMs: () => number },
): Promise<void> {
  try {
    await tell(host, configuration, logger, outage)
  } catch (error) {
    const reason = host.secrets.scrub(error instanceof Error ? error.message : String(error))
    logger.error({ event: 'outage-not-told', reason }, 'nobody could be told that the database is unavailable')
  }
}

async function tell(
  host: Host,
  configuration: Configuration,
  logger: TaskLogger,
  { reason, remainingMs }: Parameters<typeof tellOfOutage>[3],
): Promise<void> {
  const input = await alertInput(host, configuration)
  if (input.routing.channels.length === 0) return
  const { expectedInterval } = configuration.program
  const scrub = (text: string) => host.secrets.scrub(text)
  await tellOutage(
    {
      input,
      expectedIntervalMs: expectedInterval,
      now: host.now,
      remainingMs,
      timer: systemTimer,
      signal: host.hardStop,
      random: Math.random,
      scrub,
      logger,
    },
    reason,
  )
}
