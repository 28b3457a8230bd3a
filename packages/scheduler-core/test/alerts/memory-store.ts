/** The alerts' store in memory, for months of runs in seconds. It passes the same contract as PostgreSQL's (`store.test.ts`). */
import { randomUUID } from 'node:crypto'
import type {
  AlertChanges,
  AlertStore,
  ClaimedAlertMessage,
  ClaimedMessage,
  Settlement,
} from '../../src/alerts/alert-store.js'
import type { AlertRow } from '../../src/alerts/plan-alerts.js'
import type { ChangeRow } from '../../src/alerts/plan-changes.js'
import type { NewChangeMessage, NewMessage, ToldRow } from '../../src/alerts/plan-messages.js'
import type { AlertReading, EvidenceRow } from '../../src/state/alert-rows.js'

interface Stored {
  readonly message: NewMessage | NewChangeMessage
  readonly seq: number
  readonly state: 'waiting' | 'accepted' | 'dead'
  readonly attempts: number
  readonly nextAttemptAt: number
  readonly leasedUntil: number | undefined
  readonly digestId: string | undefined
  readonly receipt: string | undefined
  readonly reason: string | undefined
  readonly deadAt: Date | undefined
}

interface ChannelState {
  holdUntil?: number
  lastSuccessAt?: Date
  lastFailureAt?: Date
  lastFailure?: string
}

type Facts = Pick<AlertReading, 'tasks' | 'runs'>

export class MemoryAlertStore implements AlertStore {
  readonly #now: () => Date
  readonly alertsSince: Date
  readonly rows = new Map<string, AlertRow>()
  readonly told = new Map<string, ToldRow>()
  readonly channels = new Map<string, ChannelState>()
  messages: Stored[] = []
  evidence: EvidenceRow[] = []
  changes: ChangeRow[] = []
  mutes: AlertReading['mutes'] = []
  facts: Facts = { tasks: [], runs: [] }
  #seq = 0

  constructor(now: () => Date, alertsSince = now()) {
    this.#now = now
    this.alertsSince = alertsSince
  }

  async read(): Promise<AlertReading> {
    const alive = this.messages.filter(({ state }) => state !== 'dead')
    const names = new Set([...this.channels.keys(), ...this.messages.map(({ message }) => message.channel)])
    return {
      instanceId: '00000000-0000-4000-8000-000000000000',
      now: this.#now(),
      alertsSince: this.alertsSince,
      rows: [...this.rows.values()],
      mutes: this.mutes.filter(({ until }) => until > this.#now()),
      told: [...this.told.values()],
      waiting: alive.map(({ message, attempts, leasedUntil }) => ({
        id: message.id,
        channel: message.channel,
        name: message.name,
        incidentAt: message.incidentAt,
        transition: message.transition,
        at: message.at,
        untouched: attempts === 0 && leasedUntil === undefined,
      })),
      evidence: [...this.evidence],
      changes: [...this.changes],
      channels: [...names].map((channel) => {
        const ours = this.messages.filter(({ message }) => message.channel === channel)
        const dead = ours.filter(({ state }) => state === 'dead').sort((a, b) => Number(b.deadAt) - Number(a.deadAt))
        const oldest = ours.find(({ state }) => state !== 'dead')
        const state = this.channels.get(channel)
        return {
          channel,
          waiting: ours.length - dead.length,
          oldestWaitingAt: oldest?.message.at,
          deadLetters: dead.length,
          newestDeadAt: dead[0]?.deadAt,
          lastDeadReason: dead[0]?.reason,
          lastSuccessAt: state?.lastSuccessAt,
          lastFailureAt: state?.lastFailureAt,
          lastFailure: state?.lastFailure,
        }
      }),
      ...this.facts,
    }
  }

  async evaluate(plan: (reading: AlertReading) => AlertChanges | undefined): Promise<AlertChanges | undefined> {
    const changes = plan(await this.read())
    if (changes === undefined) return undefined
    const { alerts, messages, evaluated, changes: done } = changes
    for (const name of alerts.forgotten) this.rows.delete(name)
    for (const row of alerts.changed) this.rows.set(row.name, row)
    for (const told of messages.untold) this.told.delete(pairOf(told))
    for (const told of messages.told) this.told.set(pairOf(told), told)
    for (const { id, reason } of messages.dead) this.#change(id, { state: 'dead', reason, deadAt: this.#now() })
    for (const { id, transition, content } of messages.rewritten) {
      const stored = this.messages.find(({ message }) => message.id === id)
      if (stored !== undefined && stored.message.transition !== 'completed')
        this.#change(id, { message: { ...stored.message, transition, content } })
    }
    await this.insertMessages([...messages.messages, ...done.messages])
    this.changes = this.changes.filter(({ id }) => !done.taken.includes(id))
    this.evidence = this.evidence.filter(({ id }) => !evaluated.includes(id))
    return changes
  }

  async insertMessages(messages: readonly (NewMessage | NewChangeMessage)[]): Promise<void> {
    for (const message of messages) {
      if (this.messages.some((stored) => stored.message.id === message.id)) continue
      this.#seq += 1
      this.messages.push({
        message,
        seq: this.#seq,
        state: 'waiting',
        attempts: 0,
        nextAttemptAt: message.at.getTime(),
        leasedUntil: undefined,
        digestId: undefined,
        receipt: undefined,
        reason: undefined,
        deadAt: undefined,
      })
    }
  }

  async expire(maximumAgeMs: number): Promise<number> {
    const now = this.#now().getTime()
    let count = 0
    for (const { message, attempts, state, reason } of [...this.messages]) {
      const stored = this.#alive(message.id)
      if (stored === undefined || message.at.getTime() > now - maximumAgeMs || isLeased(stored, now)) continue
      const said = state === 'accepted' ? 'the provider never said what became of it' : 'too old'
      const last = reason === undefined ? said : `${said}; last: ${reason}`
      this.#bury({ ...message, attempts }, last, 'expired')
      count += 1
    }
    return count
  }

  async claimNext(channel: string, leaseMs: number): Promise<ClaimedMessage | undefined> {
    const now = this.#now().getTime()
    if ((this.channels.get(channel)?.holdUntil ?? 0) > now) return undefined
    const ours = this.messages.filter(({ message, state }) => message.channel === channel && state !== 'dead')
    const heads = ours.filter(
      (stored, index) =>
        stored.nextAttemptAt <= now &&
        !isLeased(stored, now) &&
        !ours.slice(0, index).some(({ message }) => message.name === stored.message.name),
    )
    const ofAlerts = heads.filter(({ message }) => message.transition !== 'completed')
    const next = ofAlerts.find(({ receipt }) => receipt === undefined) ?? ofAlerts[0] ?? heads[0]
    return next === undefined ? undefined : this.#lease(next, now + leaseMs, undefined)
  }

  async claimDigest(channel: string, leaseMs: number) {
    const now = this.#now().getTime()
    if ((this.channels.get(channel)?.holdUntil ?? 0) > now) return undefined
    const ours = this.messages.filter(
      ({ message, state }) => message.channel === channel && state !== 'dead' && message.transition !== 'completed',
    )
    const [first] = ours
    if (first === undefined || isLeased(first, now) || first.nextAttemptAt > now) return undefined
    const id = first.digestId ?? randomUUID()
    const together = ours.filter(({ digestId }) => digestId === first.digestId)
    const messages = together.map((stored) => this.#lease(stored, now + leaseMs, id) as ClaimedAlertMessage)
    return { id, messages }
  }

  async settle(messages: readonly ClaimedMessage[], settlement: Settlement): Promise<void> {
    const [first] = messages
    if (first === undefined) return
    for (const message of messages) this.#settleOne(message, settlement)
    const failure = settlement.outcome === 'retry' || settlement.outcome === 'dead' ? settlement.reason : undefined
    await this.recordAttempt(first.channel, failure, settlement.outcome === 'retry' ? settlement.holdMs : undefined)
  }

  async recordAttempt(channel: string, failure: string | undefined, holdMs?: number): Promise<void> {
    const state = this.channels.get(channel) ?? {}
    this.channels.set(channel, state)
    if (failure === undefined) {
      state.lastSuccessAt = this.#now()
      delete state.holdUntil
      return
    }
    state.lastFailureAt = this.#now()
    state.lastFailure = failure
    if (holdMs !== undefined) state.holdUntil = this.#now().getTime() + holdMs
  }

  #settleOne(message: ClaimedMessage, settlement: Settlement): void {
    const stored = this.#alive(message.id)
    if (stored === undefined || stored.attempts !== message.attempts) return
    const now = this.#now()
    if (settlement.outcome === 'dead') this.#bury(message, settlement.reason, 'refused')
    else if (settlement.outcome === 'delivered') {
      this.messages = this.messages.filter((each) => each !== stored)
      const told = this.told.get(pairOf(message))
      if (told === undefined) return
      if (message.transition !== 'resolved') {
        if (message.transition !== 'changed') this.told.set(pairOf(message), { ...told, calledAt: now })
      } else if (told.state === 'closing') this.told.delete(pairOf(message))
    } else {
      this.#change(message.id, {
        leasedUntil: undefined,
        nextAttemptAt: now.getTime() + settlement.afterMs,
        ...(settlement.outcome === 'accepted'
          ? { state: 'accepted', receipt: settlement.receipt }
          : { reason: settlement.reason }),
      })
    }
  }

  #bury(
    {
      id,
      channel,
      name,
      incidentAt,
      transition,
      at,
      attempts,
    }: Pick<ClaimedMessage, 'id' | 'channel' | 'name' | 'incidentAt' | 'transition' | 'at' | 'attempts'>,
    reason: string,
    cause: 'refused' | 'expired',
  ): void {
    const stored = this.#alive(id)
    if (stored?.attempts !== attempts) return
    this.#change(id, { state: 'dead', reason, deadAt: this.#now(), leasedUntil: undefined })
    const pair = pairOf({ channel, name, incidentAt })
    if (transition === 'opened')
      this.messages = this.messages.filter(
        ({ message, state, seq }) => state === 'dead' || seq <= stored.seq || pairOf(message) !== pair,
      )
    const told = this.told.get(pair)
    if (told === undefined || transition === 'changed') return
    if (transition === 'raised' || transition === 'reminded')
      this.told.set(pair, { ...told, calledAt: cause === 'expired' ? at : this.#now() })
    else if (cause === 'refused' && transition === 'opened') this.told.set(pair, { ...told, state: 'refused' })
    else if (cause === 'expired' && transition === 'resolved') this.told.set(pair, { ...told, state: 'open' })
    else this.told.delete(pair)
  }

  #lease(stored: Stored, leasedUntil: number, digestId: string | undefined): ClaimedMessage {
    const attempts = stored.attempts + 1
    this.#change(stored.message.id, { attempts, leasedUntil, digestId })
    const claim = { attempts, receipt: stored.receipt }
    if (stored.message.transition === 'completed') {
      const { content, ...message } = stored.message
      return { ...message, change: content, ...claim }
    }
    const { content, ...message } = stored.message
    return { ...message, alert: content, ...claim }
  }

  #alive(id: string): Stored | undefined {
    return this.messages.find(({ message, state }) => message.id === id && state !== 'dead')
  }

  #change(id: string, change: Partial<Stored>): void {
    this.messages = this.messages.map((stored) => (stored.message.id === id ? { ...stored, ...change } : stored))
  }
}

function isLeased({ leasedUntil }: Stored, now: number): boolean {
  return leasedUntil !== undefined && leasedUntil > now
}

export function pairOf({ channel, name, incidentAt }: Pick<ToldRow, 'channel' | 'name' | 'incidentAt'>): string {
  return `${channel}\n${name}\n${incidentAt.getTime()}`
}
