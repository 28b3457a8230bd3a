/** A month of runs every five minutes, with outages of everything, against a provider that knows alerts by key and one that does not. */
import { Alerting, type AlertInput, type KnownTasks } from '../../src/alerts/alerting.js'
import { tellOutage } from '../../src/alerts/direct.js'
import type { AlertStore } from '../../src/alerts/alert-store.js'
import type {
  AlertMessage,
  AlertRouting,
  Delivery,
  DigestChannel,
  EachChannel,
  Heartbeat,
} from '../../src/alerts/channel.js'
import { defaultAlertPolicy } from '../../src/alerts/policy.js'
import { safeText } from '../../src/execute/safe-text.js'
import type { Finding, TaskLogger } from '../../src/task.js'
import { entry } from '../support.js'
import type { AlertReading, EvidenceRow } from '../../src/state/alert-rows.js'
import { MemoryAlertStore } from './memory-store.js'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const intervalMs = 5 * minute
export const runsOfMonth = 30 * 288
const start = Date.UTC(2026, 10, 1)

const silentLogger: TaskLogger = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/** mulberry32: small, and the same everywhere. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Window {
  readonly from: number
  readonly to: number
}

const isIn = (windows: readonly Window[], at: number) => windows.some(({ from, to }) => at >= from && at < to)

/** Some of hours, and one of three days where there is room for it. */
function outages(random: () => number, count: number, days: number): readonly Window[] {
  const first = Math.min(day, (days * day) / 10)
  const short = Array.from({ length: Math.ceil((count * days) / 30) }, () => {
    const from = start + first + random() * (days - 0.1) * 0.9 * day
    return { from, to: from + (0.2 + 5 * random()) * hour }
  })
  if (days < 30) return short
  const from = start + (3 + 20 * random()) * day
  return [...short, { from, to: from + 3 * day }]
}

/** When something was really wrong. Quiet in between for long enough that nothing flaps. */
function troubles(random: () => number): readonly Window[] {
  const windows: Window[] = []
  for (let at = start + 2 * hour + random() * 8 * hour; at < start + 29 * day;) {
    const to = at + (0.1 + (random() < 0.2 ? 40 * random() : 3 * random())) * hour
    windows.push({ from: at, to })
    at = to + 8 * hour + random() * 2 * day
  }
  return windows
}

/** What a run saw: the truth as far as anybody can know it. */
interface Incident {
  readonly key: string
  readonly firedAt: number
  resolvedAt?: number
}

interface Received {
  readonly at: number
  readonly message: AlertMessage
  /** People were called. */
  readonly page: boolean
}

/** Knows alerts by key and messages by id, as PagerDuty does; loses an answer now and then. */
class KeyedProvider {
  readonly received: Received[] = []
  readonly open = new Set<string>()
  readonly #ids = new Set<string>()

  take(message: AlertMessage, at: number): void {
    const isNew = !this.#ids.has(message.id)
    this.#ids.add(message.id)
    const { key } = message.alert
    const opens = message.transition === 'opened' && !this.open.has(key)
    const page = isNew && (opens || message.transition === 'raised' || message.transition === 'reminded')
    if (message.transition === 'resolved') {
      if (!this.open.delete(key)) return
    } else if (message.transition === 'opened') this.open.add(key)
    if (isNew) this.received.push({ at, message, page })
  }
}

/** Where the rows are. */
export interface Backend {
  readonly store: AlertStore
  /** A run of a task was recorded. */
  record(run: Omit<EvidenceRow, 'id'>): Promise<void>
  /** A run of the scheduler was recorded. */
  ended(tasks: AlertReading['tasks'], run: AlertReading['runs'][number]): Promise<void>
  deadLetters(): Promise<number>
}

export function memoryBackend(
  now: () => Date,
  change: (store: MemoryAlertStore) => AlertStore = (store) => store,
): Backend {
  const store = new MemoryAlertStore(now, new Date(start - day))
  let id = 0
  return {
    store: change(store),
    record: async (run) => {
      id += 1
      store.evidence.push({ ...run, id: String(id) })
    },
    ended: async (tasks, run) => {
      store.facts = { tasks, runs: [run] }
    },
    deadLetters: async () => store.messages.filter(({ state }) => state === 'dead').length,
  }
}

export interface MonthOptions {
  readonly seed: number
  /** Default: a month. */
  readonly days?: number
  /** Default: in memory. */
  readonly backend?: (now: () => Date) => Backend
}

export interface Month {
  readonly incidents: readonly Incident[]
  readonly violations: readonly string[]
  readonly pages: number
  readonly deadLetters: number
  readonly crashes: number
  readonly databaseOutages: number
}

export async function simulateMonth({
  seed,
  days = 30,
  backend: backendOf = memoryBackend,
}: MonthOptions): Promise<Month> {
  const runs = days * 288
  const random = randomOf(seed)
  const policy = { ...defaultAlertPolicy, installation: 'month' }
  const providerDown = outages(random, 8, days)
  const chatDown = outages(random, 5, days)
  const databaseDown = outages(random, 3, days)
  const schedulerDown = outages(random, 4, days)
  const keys = ['queue', 'ingestion', 'replica', 'integrity']
  const trouble = new Map(keys.map((key) => [key, troubles(random)]))
  const backupTrouble = troubles(random)

  let now = start
  const backend = backendOf(() => new Date(now))
  const pager = new KeyedProvider()
  const chat: { at: number; message: AlertMessage }[] = []
  const violations: string[] = []
  let heartbeats = 0

  const answer = (down: readonly Window[], take: () => void): Delivery => {
    if (isIn(down, now)) {
      const kind = random()
      if (kind < 0.2) return { outcome: 'retry', reason: 'slow down', afterMs: 10 * minute }
      if (kind < 0.4) throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' })
      return { outcome: 'retry', reason: 'status 503' }
    }
    take()
    // Taken, and the answer was lost.
    if (random() < 0.03) throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    return { outcome: 'delivered' }
  }
  const receipts = new Map<string, AlertMessage>()
  const tooOld = (message: AlertMessage) => {
    if (now - message.at.getTime() >= policy.maximumAge) violations.push(`delivered too late: ${message.alert.key}`)
  }
  const each: EachChannel = {
    kind: 'each',
    name: 'pager',
    transitions: ['opened', 'raised', 'changed', 'reminded', 'resolved'],
    send: async (message) => {
      let accepted: string | undefined
      const delivery = answer(providerDown, () => {
        tooOld(message)
        // Nobody can ask later about what was told without a database.
        if (random() < 0.2 && message.alert.findingKey !== 'database-unavailable') {
          accepted = message.id
          receipts.set(accepted, message)
        } else pager.take(message, now)
      })
      return accepted === undefined ? delivery : { outcome: 'accepted', receipt: accepted }
    },
    poll: async (receipt) => {
      const message = receipts.get(receipt)
      if (message === undefined) throw new Error('no such receipt')
      return answer(providerDown, () => {
        pager.take(message, now)
      })
    },
  }
  const digest: DigestChannel = {
    kind: 'digest',
    name: 'chat',
    transitions: ['opened', 'resolved'],
    send: async (_id, messages) =>
      answer(chatDown, () => {
        messages.forEach(tooOld)
        chat.push(...messages.map((message) => ({ at: now, message })))
      }),
  }
  const heartbeat: Heartbeat = {
    name: 'switch',
    send: async () => {
      heartbeats += 1
      return { outcome: 'delivered' }
    },
  }
  const routing: AlertRouting = {
    channels: [each, digest],
    heartbeats: [heartbeat],
    channelsFor: () => ['pager', 'chat'],
    channelsForChange: () => [],
  }
  const input: AlertInput = {
    routing,
    policy,
    database: 'db:5432/battlescope',
    http: async () => ({ client: noHttp, close: async () => undefined }),
  }
  const tasks = [
    entry({ name: 'health', run: async () => ({ outcome: 'succeeded' }) }),
    entry({
      name: 'backup',
      schedule: { kind: 'interval', everyMs: day },
      run: async () => ({ outcome: 'succeeded' }),
    }),
  ]
  const known: KnownTasks = { entries: tasks, disabled: [], complete: true }
  const taskRow = (name: string, at: number) => ({
    name,
    firstSeenAt: new Date(start - 2 * day),
    lastClaimedAt: new Date(at),
    consecutiveFailures: 0,
    consecutiveExpiries: 0,
    claimExpired: false,
    paused: false,
    lastSuccessAt: new Date(at),
    lastReason: undefined,
  })

  // ── the oracle: what should have been alerted, from what runs saw ────────────────────────────────────────────
  const incidents: Incident[] = []
  const open = new Map<string, { incident: Incident; good: number }>()
  const observe = (key: string, found: boolean, needed: number) => {
    const known = open.get(key)
    if (found) {
      if (known !== undefined) known.good = 0
      else {
        const incident = { key, firedAt: now }
        incidents.push(incident)
        open.set(key, { incident, good: 0 })
      }
    } else if (known !== undefined) {
      known.good += 1
      if (known.good >= needed) {
        known.incident.resolvedAt = now
        open.delete(key)
      }
    }
  }

  let crashes = 0
  let lastBackup = -1
  let databaseOutages = 0
  let wasDown = false
  const seenDown: Window[] = []
  for (let index = 0; index < runs; index += 1) {
    now = start + index * intervalMs + Math.floor(random() * 20_000)
    if (isIn(schedulerDown, now)) continue
    const setting = {
      input,
      expectedIntervalMs: intervalMs,
      now: () => new Date(now),
      remainingMs: () => 10_000,
      timer: { monotonicMs: () => now - start, hostNow: () => new Date(now), after: () => () => undefined },
      signal: new AbortController().signal,
      random,
      safe: safeText(),
      logger: silentLogger,
    }
    if (isIn(databaseDown, now)) {
      await tellOutage({ ...setting, scrub: (text) => text }, 'connection refused')
      if (!wasDown) {
        databaseOutages += 1
        seenDown.push({ from: now, to: now })
      }
      wasDown = true
      continue
    }
    wasDown = false
    // One run in fifty is killed somewhere: from some operation on nothing reaches the database any more.
    const killedAfter = random() < 0.02 ? Math.floor(random() * 8) : Infinity
    if (killedAfter < Infinity) crashes += 1
    const alerting = new Alerting({
      ...setting,
      store: dying(backend.store, killedAfter),
      budgetMs: 40_000,
    })
    await alerting.begin()
    const fails = random() < 0.05
    const findings: Finding[] = []
    for (const key of keys) {
      const found = isIn(trouble.get(key) ?? [], now)
      if (found) findings.push({ key, severity: 'error', summary: `${key} is wrong` })
      if (!fails) observe(`health/${key}`, found, policy.resolveAfter)
    }
    const record = (task: string, outcome: 'succeeded' | 'failed', of: readonly Finding[]) =>
      backend.record({ task, outcome, finishedAt: new Date(now), findings: of })
    await record('health', fails ? 'failed' : 'succeeded', fails ? [] : findings)
    const backupSlot = Math.floor(now / day)
    if (backupSlot !== lastBackup) {
      lastBackup = backupSlot
      const found = isIn(backupTrouble, now)
      observe('backup/old', found, 1)
      await record(
        'backup',
        'succeeded',
        found ? [{ key: 'old', severity: 'error', summary: 'the backup is old' }] : [],
      )
    }
    await backend.ended([taskRow('health', now), taskRow('backup', now)], {
      startedAt: new Date(now),
      finishedAt: new Date(now + 1000),
    })
    await alerting.evaluate(known)
    await alerting.workDone()
    await alerting.end()
  }

  // ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────
  const settled = now - Math.min(2, days / 4) * day
  /** Whatever was over by then had the time to arrive, outages of days included. */
  const closed = days < 30 ? settled : settled - 3 * day
  const received = pager.received
  // A message waits while the provider, the scheduler or the database is away: nobody can deliver it.
  const away = [...schedulerDown, ...databaseDown]
  // An hour of everything being there, before the message is too old, is enough even after the longest back-off.
  const mayExpire = (at: number, down: readonly Window[]) => {
    const instants = Array.from({ length: 275 }, (_, index) => at + index * intervalMs)
    const works = (instant: number) => !isIn(down, instant) && !isIn(away, instant)
    return !instants.some((_, index) => index + 12 < instants.length && instants.slice(index, index + 13).every(works))
  }
  for (const incident of incidents) {
    const { key, firedAt, resolvedAt } = incident
    const what = `${key} of ${new Date(firedAt).toISOString()}`
    const ofIncident = received.filter(
      ({ message }) => message.alert.key === `month:${key}` && message.alert.openedAt.getTime() === firedAt,
    )
    const opens = ofIncident.filter(({ message, page }) => message.transition === 'opened' && page).length
    const closes = ofIncident.filter(({ message }) => message.transition === 'resolved').length
    const lost = mayExpire(firedAt, providerDown)
    if (opens > 1 || (opens === 0 && !lost && firedAt < settled)) violations.push(`${what}: opened ${opens} times`)
    if (closes > opens || (closes < opens && resolvedAt !== undefined && resolvedAt < closed))
      violations.push(`${what}: closed ${closes} times after ${opens} openings`)
    // While the provider was away for longer than a message may wait, it is opened anew when the provider is back.
    if (opens === 0 && resolvedAt === undefined && firedAt < settled)
      violations.push(`${what}: never opened, still fires`)
    const inChat = chat.filter(
      ({ message }) => message.alert.key === `month:${key}` && message.alert.openedAt.getTime() === firedAt,
    )
    const chatOpens = inChat.filter(({ message }) => message.transition === 'opened').length
    const chatCloses = inChat.filter(({ message }) => message.transition === 'resolved').length
    if (chatOpens === 0 && firedAt < settled && !mayExpire(firedAt, chatDown))
      violations.push(`${what}: not in the chat`)
    if (chatOpens > 0 && chatCloses === 0 && resolvedAt !== undefined && resolvedAt < closed)
      violations.push(`${what}: never closed in the chat`)
    const pages = ofIncident.filter(({ page }) => page)
    for (const [index, page] of pages.entries()) {
      const before = pages[index - 1]
      if (before !== undefined && page.at - before.at < policy.reminderInterval)
        violations.push(`${what}: called again after ${Math.round((page.at - before.at) / minute)} minutes`)
    }
  }
  // Nothing that nobody saw.
  const truth = new Set(incidents.map(({ key, firedAt }) => `month:${key}@${firedAt}`))
  for (const { message } of received) {
    const { key, openedAt, findingKey } = message.alert
    if (findingKey === 'database-unavailable' || key.startsWith('month:scheduler/')) continue
    if (!truth.has(`${key}@${openedAt.getTime()}`)) violations.push(`${key}: told of what never happened`)
  }
  const outageKey = 'month:scheduler/database-unavailable'
  const outageOpens = received.filter(({ message, page }) => message.alert.key === outageKey && page).length
  if (outageOpens > databaseOutages)
    violations.push(`the outage was opened ${outageOpens} times in ${databaseOutages} outages`)
  const notTold = seenDown.filter(
    ({ from }) =>
      !isIn(providerDown, from) &&
      !received.some(({ message, at }) => message.alert.key === outageKey && Math.abs(at - from) < 2 * hour),
  )
  if (notTold.length > 0) violations.push(`${notTold.length} outages of the database were told to nobody`)
  if (pager.open.has(outageKey) && !isIn(databaseDown, now) && !isIn(providerDown, now))
    violations.push('the outage was never closed')
  if (heartbeats === 0) violations.push('no heartbeat')
  return {
    incidents,
    violations,
    pages: received.filter(({ page }) => page).length,
    deadLetters: await backend.deadLetters(),
    crashes,
    databaseOutages,
  }
}

const noHttp = {
  get: () => Promise.reject(new Error('no network here')),
  post: () => Promise.reject(new Error('no network here')),
  send: () => Promise.reject(new Error('no network here')),
}

/** Works for so many operations, and then no more: half the time the last one took effect all the same. */
function dying(store: AlertStore, operations: number): AlertStore {
  let left = operations
  const dead = () => Promise.reject(Object.assign(new Error('connection lost'), { code: 'connection-lost' }))
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      return async (...argv: unknown[]) => {
        if (left <= 0) return dead()
        left -= 1
        const result = await (Reflect.apply(value, target, argv) as Promise<unknown>)
        return left === 0 && operations % 2 === 0 ? dead() : result
      }
    },
  })
}
