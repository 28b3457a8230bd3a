/** `alerts`: mute, unmute, and try the channels. */
import {
  didYouMean,
  exitCodes,
  PostgresAlertStore,
  SchedulerError,
  sendTestAlert,
  StateStore,
  systemTimer,
} from '@battlescope/scheduler-core'
import { alertInput } from '../alerts/alert-input.js'
import { loadConfiguration, type Flags } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { createLogging } from '../logging/logging.js'
import { Output } from '../output.js'

/** @param until an instant, or milliseconds from the database's now */
export async function mute(
  host: Host,
  flags: Flags,
  pattern: string,
  until: Date | number,
  reason: string | undefined,
): Promise<number> {
  return withAlerts(host, flags, async (store, output, now) => {
    const at = typeof until === 'number' ? new Date(now.getTime() + until) : until
    if (at <= now) {
      throw new SchedulerError('usage', `--until: ${at.toISOString()} is over already`, {
        hint: `the database's clock says ${now.toISOString()}`,
      })
    }
    await store.mute(pattern, at, reason)
    output.line(`${pattern} is muted until ${at.toISOString()}; \`alerts unmute '${pattern}'\` ends it`)
  })
}

export async function unmute(host: Host, flags: Flags, pattern: string): Promise<number> {
  return withAlerts(host, flags, async (store, output) => {
    const { mutes } = await store.read()
    if (!(await store.unmute(pattern))) {
      const patterns = mutes.map((each) => each.pattern)
      throw new SchedulerError('usage', `there is no mute '${pattern}'`, {
        hint:
          patterns.length === 0
            ? 'nothing is muted'
            : (didYouMean(pattern, patterns) ?? `muted: ${patterns.join(', ')}`),
      })
    }
    output.line(`${pattern} is no longer muted: what still fires is told by the next run`)
  })
}

export interface TestOptions {
  readonly channel: string | undefined
  readonly json: boolean
}

/** Needs no database. @returns 1 when a channel did not take it */
export async function test(host: Host, flags: Flags, { channel, json }: TestOptions): Promise<number> {
  host.endAtSignal()
  const configuration = await loadConfiguration(host, flags, { database: false })
  const { program } = configuration
  const input = await alertInput(host, configuration)
  const names = input.routing.channels.map(({ name }) => name)
  const output = new Output(host)
  if (names.length === 0) {
    throw new SchedulerError('configuration', 'no channel is configured: nobody would be told of an alert', {
      hint: 'docs/alerts.md; `config` shows the options that begin with alerts.',
    })
  }
  if (channel !== undefined && !names.includes(channel)) {
    throw new SchedulerError('usage', `--channel: '${channel}' is not configured`, {
      hint: didYouMean(channel, names) ?? `configured: ${names.join(', ')}`,
    })
  }
  const logging = createLogging({
    level: 'error',
    stream: 'stderr',
    terminal: host.terminal,
    scrub: (text) => host.secrets.scrub(text),
  })
  const results = await sendTestAlert(
    {
      input,
      expectedIntervalMs: program.expectedInterval,
      now: host.now,
      remainingMs: () => input.policy.deliveryTimeout,
      timer: systemTimer,
      signal: host.hardStop,
      random: Math.random,
      scrub: (text) => host.secrets.scrub(text),
      logger: logging.logger,
    },
    channel,
  )
  logging.end()
  if (json) output.json({ results })
  else
    output.table(
      ['channel', 'message', 'outcome', 'why'],
      results.map(({ name, message, outcome, reason }) => [
        name,
        message,
        output.paint(outcome, outcome === 'delivered' || outcome === 'accepted' ? 'green' : 'red'),
        reason ?? '',
      ]),
    )
  const allTaken = results.every(({ outcome }) => outcome === 'delivered' || outcome === 'accepted')
  return (allTaken ? exitCodes.ok : exitCodes.taskFailed).code
}

async function withAlerts(
  host: Host,
  flags: Flags,
  work: (store: PostgresAlertStore, output: Output, now: Date) => Promise<void>,
): Promise<number> {
  host.endAtSignal()
  const { program } = await loadConfiguration(host, flags)
  await withDatabase(
    program,
    async ({ connections }) => {
      const state = await new StateStore(connections, program.schema).readState()
      if (state.instanceId === undefined) {
        throw new SchedulerError(
          'configuration',
          `the schema '${program.schema}' is not there, or is of another version`,
          {
            hint: 'run `migrate` first',
          },
        )
      }
      await work(new PostgresAlertStore(connections, program.schema), new Output(host), state.now)
    },
    { signal: host.stop },
  )
  return exitCodes.ok.code
}
