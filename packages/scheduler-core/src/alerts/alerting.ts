/** What the pipeline calls: evaluate the alerts, deliver what waits, tell the outside that a run did its work. */
import { randomUUID } from 'node:crypto'
import type { HttpClient } from '../clients.js'
import { codeOf, messageOf } from '../errors.js'
import type { Timer } from '../execute/clock.js'
import type { SafeText } from '../execute/safe-text.js'
import type { DisabledTask, RegisteredTask } from '../registry.js'
import { firstSlotAfter, type Schedule } from '../schedule.js'
import type { AlertChannelRow, AlertReading, AlertTaskRow } from '../state/alert-rows.js'
import type { TaskLogger } from '../task.js'
import type { AlertChanges, AlertStore } from './alert-store.js'
import type { AlertMessage, AlertRouting, StateChannel } from './channel.js'
import { deliverMessages, deliverState, sendUnstored, type DeliveryPass } from './deliver.js'
import { uuidOf } from './key.js'
import { messagesAfterGap } from './outage.js'
import { isRare, notEnabledPrefix, ownFindings, ranLately, silentOnOwn } from './own-findings.js'
import { planAlerts, type AlertRow, type Evidence } from './plan-alerts.js'
import { planChanges } from './plan-changes.js'
import { contentOf, planMessages, routedTo } from './plan-messages.js'
import { defaultAlertPolicy, type AlertPolicy } from './policy.js'

/** What the program hands to a run. Absent, alerts are kept and told to nobody. */
export interface AlertInput {
  readonly routing: AlertRouting
  readonly policy: AlertPolicy
  /** Names the database without asking it: host, port and database, never a password. */
  readonly database: string
  /** Opened when there is something to send, closed at the end of the run. */
  readonly http: () => Promise<{ readonly client: HttpClient; close(): Promise<void> }>
}

export interface AlertingSetting {
  readonly input: AlertInput | undefined
  readonly store: AlertStore
  readonly expectedIntervalMs: number
  readonly budgetMs: number
  /** Database time. */
  readonly now: () => Date
  /** Milliseconds that this process still has. */
  readonly remainingMs: () => number
  readonly timer: Timer
  readonly signal: AbortSignal
  readonly random: () => number
  readonly safe: SafeText
  readonly logger: TaskLogger
}

/** Of the budget, what may pass before the first task starts. */
const shareOfBeginning = 1 / 8

/** What is known of the configuration at one point of a run. */
export interface KnownTasks {
  readonly entries: readonly RegisteredTask[]
  readonly disabled: readonly DisabledTask[]
  /** Every task of the configuration is among the entries. */
  readonly complete: boolean
}

const nobody: AlertRouting = { channels: [], heartbeats: [], channelsFor: () => [], channelsForChange: () => [] }

export class Alerting {
  readonly #setting: AlertingSetting
  readonly #routing: AlertRouting
  readonly #policy: AlertPolicy
  #http: Promise<{ readonly client: HttpClient; close(): Promise<void> }> | undefined

  constructor(setting: AlertingSetting) {
    this.#setting = setting
    this.#routing = setting.input?.routing ?? nobody
    this.#policy = setting.input?.policy ?? defaultAlertPolicy
  }

  /** First thing in a run: what could not be delivered before, and that the database is back. Costs nothing where nobody is told. */
  async begin(): Promise<void> {
    if (this.#routing.channels.length === 0) return
    await this.#harmless('alerts-not-delivered', async () => {
      const reading = await this.#setting.store.read()
      const back = messagesAfterGap(this.#outageQuestion(reading.now), reading.runs[0]?.startedAt)
      if (back.length > 0) await this.#setting.store.insertMessages(back)
      const capMs = this.#setting.budgetMs * shareOfBeginning
      if (back.length + reading.waiting.length > 0) await this.#deliver(reading, capMs)
    })
  }

  /** What was found since the last time becomes alerts and messages, and these are delivered. One statement when there is nothing. */
  async evaluate(known: KnownTasks): Promise<void> {
    await this.#harmless('alerts-not-evaluated', async () => {
      const { store, logger } = this.#setting
      const plan = (reading: AlertReading) => this.#plan(reading, known)
      const reading = await store.read()
      const changes = plan(reading) === undefined ? undefined : await store.evaluate(plan)
      for (const { name, to, row } of changes?.alerts.transitions ?? []) {
        const fields = {
          event: 'alert',
          alert: name,
          severity: row.severity,
          summary: row.summary,
          silence: row.silence,
        }
        if (to === 'resolved') logger.info({ ...fields, resolution: row.resolution }, 'alert resolved')
        else logger.warn(fields, 'alert fires')
      }
      const made = (changes?.messages.messages.length ?? 0) + (changes?.changes.messages.length ?? 0)
      const isWaiting = reading.waiting.length + made > 0
      if (this.#routing.channels.length > 0 && isWaiting) await this.#deliver(reading)
      await this.#deliverState(reading, changes?.alerts.rows ?? reading.rows)
    })
  }

  /** A dead man's switch hears of it. */
  async workDone(): Promise<void> {
    const { heartbeats } = this.#routing
    if (heartbeats.length === 0) return
    await this.#harmless('heartbeat-not-sent', async () => {
      await sendUnstored(this.#pass(), heartbeats)
    })
  }

  async end(): Promise<void> {
    const http = this.#http
    this.#http = undefined
    if (http !== undefined) await this.#harmless('alerts-not-closed', async () => (await http).close())
  }

  #plan(reading: AlertReading, known: KnownTasks): AlertChanges | undefined {
    const { expectedIntervalMs, budgetMs } = this.#setting
    const { now } = reading
    const periods = new Map(
      known.entries.map(({ name, schedule }) => [name, periodMs(schedule, now, expectedIntervalMs)]),
    )
    const tasks = reading.tasks.map((task) => ownFactsOf(task, periods.get(task.name)))
    const firstSight = new Map(reading.tasks.map(({ name, firstSeenAt }) => [name, firstSeenAt]))
    const evidence: readonly Evidence[] = [
      ...reading.evidence.map((run) => ({
        task: run.task,
        at: run.finishedAt,
        complete: run.outcome === 'succeeded' || run.outcome === 'skipped',
        findings: run.findings,
        rare: isRare(periods.get(run.task) ?? 0),
      })),
      {
        task: undefined,
        at: now,
        complete: true,
        rare: false,
        findings: ownFindings({
          now,
          expectedIntervalMs,
          budgetMs,
          tasks,
          disabled: known.disabled,
          runDurationsMs: reading.runs.map(({ startedAt, finishedAt }) => finishedAt.getTime() - startedAt.getTime()),
          channels: this.#channelFacts(reading),
        }).filter(({ key }) => known.complete || !key.startsWith(notEnabledPrefix)),
        silentOn: silentOnOwn({ tasks, complete: known.complete, now }),
      },
    ]
    const runsElsewhere = reading.tasks.filter((task) => ranLately(task, now))
    const names = [...known.entries, ...known.disabled, ...runsElsewhere].map(({ name }) => name)
    const alerts = planAlerts({
      now,
      rows: reading.rows,
      mutes: reading.mutes,
      evidence,
      enabled: known.complete ? new Set(names) : undefined,
      firstSightOf: (task) => {
        const seen = task === undefined ? undefined : firstSight.get(task)
        return seen === undefined || seen < reading.alertsSince ? reading.alertsSince : seen
      },
      policy: this.#policy,
      expectedIntervalMs,
      installation: this.#policy.installation ?? reading.instanceId.slice(0, 8),
    })
    const messages = planMessages({
      now,
      rows: alerts.rows,
      told: reading.told,
      waiting: reading.waiting,
      routing: this.#routing,
      policy: this.#policy,
      newId: randomUUID,
    })
    const changes = planChanges({
      now,
      changes: reading.changes,
      routing: this.#routing,
      mutes: reading.mutes,
      newId: randomUUID,
    })
    const evaluated = reading.evidence.map(({ id }) => id)
    const changed: readonly (readonly unknown[])[] = [
      alerts.changed,
      alerts.forgotten,
      evaluated,
      messages.messages,
      messages.rewritten,
      messages.told,
      messages.untold,
      messages.dead,
      changes.taken,
    ]
    return changed.every(({ length }) => length === 0) ? undefined : { alerts, messages, changes, evaluated }
  }

  /** Of channels that are configured: what was lost on the way to others is lost on purpose. */
  #channelFacts({ channels, rows }: AlertReading) {
    return this.#routing.channels.flatMap(({ name, kind }) => {
      const row = channels.find(({ channel }) => channel === name)
      if (row === undefined) return []
      return {
        name,
        newestDeadAt: row.newestDeadAt,
        deadLetters: row.deadLetters,
        lastReason: row.lastDeadReason ?? row.lastFailure,
        oldestWaitingAt: kind === 'state' ? untakenSince(name, row, rows, this.#routing) : row.oldestWaitingAt,
      }
    })
  }

  async #deliver(reading: AlertReading, atMostMs = Infinity): Promise<void> {
    const pass = this.#pass(atMostMs)
    const oldest = reading.waiting.reduce((least, { at }) => Math.min(least, at.getTime()), Infinity)
    if (reading.now.getTime() - oldest >= this.#policy.maximumAge) {
      const dead = await pass.store.expire(this.#policy.maximumAge)
      if (dead > 0) pass.logger.error({ event: 'alerts-too-old', count: dead }, 'alerts were too old to be delivered')
    }
    if (pass.capMs > 0) await deliverMessages(pass)
  }

  async #deliverState(reading: AlertReading, rows: readonly AlertRow[]): Promise<void> {
    const pass = this.#pass()
    if (pass.capMs <= 0) return
    await deliverState(pass, (channel) => {
      const lastSuccessAt = reading.channels.find((row) => row.channel === channel.name)?.lastSuccessAt
      return stateFor(channel, rows, this.#routing, lastSuccessAt)
    })
  }

  #pass(atMostMs = Infinity): DeliveryPass {
    const { store, now, expectedIntervalMs, timer, signal, random, safe, logger } = this.#setting
    const capMs = Math.min(this.#policy.deliveryTimeout, this.#setting.remainingMs(), atMostMs)
    const { channels } = this.#routing
    return {
      store,
      channels,
      http: () => this.#client(),
      now,
      expectedIntervalMs,
      capMs,
      timer,
      signal,
      random,
      safe,
      logger,
    }
  }

  async #client(): Promise<HttpClient> {
    if (this.#setting.input === undefined) throw new Error('no channel is configured')
    this.#http ??= this.#setting.input.http()
    return (await this.#http).client
  }

  #outageQuestion(now: Date) {
    const { expectedIntervalMs, input } = this.#setting
    return { policy: this.#policy, database: input?.database ?? '', expectedIntervalMs, routing: this.#routing, now }
  }

  /** Alerts are beside the work: what they cannot do costs no task, and no exit code. */
  async #harmless(event: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const { safe, logger } = this.#setting
      logger.error({ event, errorCode: codeOf(error), reason: safe.text(messageOf(error)) }, 'alerts failed')
    }
  }
}

/** What a channel is told that wants everything in every run; undefined when there is nothing. Pure. */
export function stateFor(
  channel: StateChannel,
  rows: readonly AlertRow[],
  routing: AlertRouting,
  lastSuccessAt: Date | undefined,
): Parameters<StateChannel['send']>[0] | undefined {
  const wanted = rows.filter((row) => row.openedAt !== undefined && routedTo(routing, row).includes(channel.name))
  const firing = wanted.flatMap((row) =>
    row.state === 'firing' && row.silence === undefined ? [contentOf(row, row.openedAt ?? row.firstSeenAt)] : [],
  )
  const resolved = wanted.flatMap((row): readonly AlertMessage[] => {
    const { resolvedAt, openedAt } = row
    if (row.state !== 'resolved' || resolvedAt === undefined || openedAt === undefined) return []
    if (lastSuccessAt !== undefined && resolvedAt <= lastSuccessAt) return []
    const id = uuidOf(`${channel.name}\n${row.key}\n${openedAt.toISOString()}`)
    return [{ id, transition: 'resolved', alert: contentOf(row, openedAt), at: resolvedAt }]
  })
  return firing.length + resolved.length === 0 ? undefined : { firing, resolved }
}

/** Since when a channel of which nothing is stored has not taken what there was to tell: undefined for one that works, or had nothing to hear. */
function untakenSince(
  channel: string,
  { lastSuccessAt, lastFailureAt }: AlertChannelRow,
  rows: readonly AlertRow[],
  routing: AlertRouting,
): Date | undefined {
  if (lastFailureAt === undefined || (lastSuccessAt !== undefined && lastSuccessAt >= lastFailureAt)) return undefined
  const openings = rows.flatMap((row) =>
    row.state === 'firing' &&
    row.silence === undefined &&
    row.openedAt !== undefined &&
    routedTo(routing, row).includes(channel)
      ? [row.openedAt.getTime()]
      : [],
  )
  if (openings.length === 0) return undefined
  return new Date(Math.max(Math.min(...openings), lastSuccessAt?.getTime() ?? 0))
}

function ownFactsOf(task: AlertTaskRow, period: number | undefined) {
  return { ...task, periodMs: period, stuck: task.claimExpired }
}

/** Milliseconds between two slots: of a cron expression the longest of the next, such as a weekend. */
function periodMs(schedule: Schedule, now: Date, expectedIntervalMs: number): number {
  if (schedule.kind === 'every-run') return expectedIntervalMs
  if (schedule.kind === 'interval') return Math.max(schedule.everyMs, expectedIntervalMs)
  const slotsAhead = 3
  let longest = expectedIntervalMs
  let slot = firstSlotAfter(schedule, now)
  for (let index = 0; index < slotsAhead && slot !== undefined; index += 1) {
    const next = firstSlotAfter(schedule, slot)
    if (next !== undefined) longest = Math.max(longest, next.getTime() - slot.getTime())
    slot = next
  }
  return longest
}
