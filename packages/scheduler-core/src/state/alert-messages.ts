/** The outbox of the alerts, in SQL: claim, settle, expire. */
import { randomUUID } from 'node:crypto'
import { sql, type RawBuilder } from 'kysely'
import type { ClaimedAlertMessage, ClaimedMessage, Settlement } from '../alerts/alert-store.js'
import type { AlertTransition, ChangeContent, MessageTransition } from '../alerts/channel.js'
import { contentFromJson } from './alert-rows.js'
import type { StateDb, StoredContent, TableName } from './tables.js'

/** Messages of one digest; more go with the next. */
const mostOfDigest = 200

type Now = RawBuilder<Date>

interface ClaimedRow {
  readonly id: string
  readonly channel: string
  readonly name: string
  readonly incident_at: Date
  readonly transition: MessageTransition
  readonly content: StoredContent | ChangeContent
  readonly at: Date
  readonly attempts: number
  readonly receipt: string | null
}

const later = (now: Now, ms: number) => sql<Date>`${now} + ${ms} * interval '1 millisecond'`

/**
 * The oldest message of the channel that is the first of its alert, due, and held by nobody. What nobody has taken yet goes before the
 * questions about what was taken: many of those must not keep a new alert from people. Nor must changes, which can wait.
 */
export async function claimNext(
  db: StateDb,
  table: TableName,
  now: Now,
  channel: string,
  leaseMs: number,
): Promise<ClaimedMessage | undefined> {
  const { rows } = await sql<ClaimedRow>`
    UPDATE ${table('alert_message')} SET attempts = attempts + 1, leased_until = ${later(now, leaseMs)}
    WHERE seq = (
      SELECT head.seq FROM ${table('alert_message')} head
      WHERE head.channel = ${channel} AND head.state <> 'dead' AND head.next_attempt_at <= ${now}
        AND (head.leased_until IS NULL OR head.leased_until <= ${now})
        AND NOT EXISTS (
          SELECT FROM ${table('alert_message')} earlier
          WHERE earlier.channel = head.channel AND earlier.name = head.name AND earlier.seq < head.seq AND earlier.state <> 'dead')
        AND NOT EXISTS (
          SELECT FROM ${table('alert_channel')} held WHERE held.channel = head.channel AND held.hold_until > ${now})
      ORDER BY head.transition = 'completed', head.receipt IS NOT NULL, head.seq LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, channel, name, incident_at, transition, content, at, attempts, receipt`.execute(db)
  return rows[0] === undefined ? undefined : claimed(rows[0])
}

export async function claimDigest(
  db: StateDb,
  now: Now,
  channel: string,
  leaseMs: number,
): Promise<{ readonly id: string; readonly messages: readonly ClaimedAlertMessage[] } | undefined> {
  const rows = await db
    .selectFrom('alert_message')
    .select(['seq', 'digest_id', sql<boolean>`leased_until > ${now}`.as('leased')])
    .select(sql<boolean>`next_attempt_at <= ${now}`.as('due'))
    .where('channel', '=', channel)
    .where('state', '<>', 'dead')
    .where('transition', '<>', 'completed')
    .where((e) =>
      e.not(
        e.exists(
          e.selectFrom('alert_channel').select('channel').where('channel', '=', channel).where('hold_until', '>', now),
        ),
      ),
    )
    .orderBy('seq')
    .limit(mostOfDigest)
    .forUpdate()
    .execute()
  const [first] = rows
  if (first === undefined || first.leased || !first.due) return undefined
  // What was tried together once stays together: a provider may know it by its id.
  const id = first.digest_id ?? randomUUID()
  const together = rows.filter(({ digest_id }) => digest_id === first.digest_id).map(({ seq }) => seq)
  const updated = await db
    .updateTable('alert_message')
    .set({ attempts: sql<number>`attempts + 1`, leased_until: later(now, leaseMs), digest_id: id })
    .where('seq', 'in', together)
    .returning(['seq', 'id', 'channel', 'name', 'incident_at', 'transition', 'content', 'at', 'attempts', 'receipt'])
    .execute()
  return { id, messages: updated.sort((a, b) => Number(a.seq) - Number(b.seq)).map(claimedAlert) }
}

function claimed(row: ClaimedRow): ClaimedMessage {
  if (row.transition !== 'completed') return claimedAlert(row)
  return { ...claimOf(row), transition: row.transition, change: row.content as ChangeContent }
}

/** Of a row that is no change. */
function claimedAlert(row: ClaimedRow): ClaimedAlertMessage {
  const transition = row.transition as AlertTransition
  return { ...claimOf(row), transition, alert: contentFromJson(row.content as StoredContent) }
}

function claimOf({ id, channel, name, incident_at, at, attempts, receipt }: ClaimedRow) {
  return { id, channel, name, incidentAt: incident_at, at, attempts, receipt: receipt ?? undefined }
}

/** What an attempt came to. Of a message whose lease another process took nothing is changed: its number of attempts is another. */
export async function settle(db: StateDb, now: Now, message: ClaimedMessage, settlement: Settlement): Promise<void> {
  if (settlement.outcome === 'delivered') {
    const { numDeletedRows } = await db
      .deleteFrom('alert_message')
      .where('id', '=', message.id)
      .where('attempts', '=', message.attempts)
      .executeTakeFirstOrThrow()
    if (numDeletedRows > 0n && message.transition !== 'completed') await tellDelivered(db, now, message)
    return
  }
  if (settlement.outcome === 'dead') {
    await bury(db, now, message, settlement.reason, 'refused')
    return
  }
  await db
    .updateTable('alert_message')
    .set({
      leased_until: null,
      next_attempt_at: later(now, settlement.afterMs),
      ...(settlement.outcome === 'accepted'
        ? { state: 'accepted' as const, receipt: settlement.receipt }
        : { reason: settlement.reason }),
    })
    .where('id', '=', message.id)
    .where('attempts', '=', message.attempts)
    .where('state', '<>', 'dead')
    .execute()
}

async function tellDelivered(
  db: StateDb,
  now: Now,
  { channel, name, incidentAt, transition }: ClaimedAlertMessage,
): Promise<void> {
  const pair = { channel, name, incident_at: incidentAt }
  if (transition === 'resolved') {
    await db
      .deleteFrom('alert_told')
      .where((e) => e.and(pair))
      .where('state', '=', 'closing')
      .execute()
  } else if (transition !== 'changed') {
    await db
      .updateTable('alert_told')
      .set({ called_at: now })
      .where((e) => e.and(pair))
      .execute()
  }
}

type BuriedMessage = Pick<ClaimedMessage, 'id' | 'channel' | 'name' | 'incidentAt' | 'transition' | 'at' | 'attempts'>

/**
 * A message becomes a dead letter. Of an alert that could not even be opened there is nothing more to tell: what follows goes with it.
 * Refused, it stays closed for this incident; too old, it is opened anew if it still fires. That it is over is told again, for ever.
 */
async function bury(
  db: StateDb,
  now: Now,
  { id, channel, name, incidentAt, transition, at, attempts }: BuriedMessage,
  reason: string,
  cause: 'refused' | 'expired',
): Promise<boolean> {
  const dead = await db
    .updateTable('alert_message')
    .set({ state: 'dead', reason, dead_at: now, leased_until: null })
    .where('id', '=', id)
    .where('attempts', '=', attempts)
    .where('state', '<>', 'dead')
    .returning('seq')
    .executeTakeFirst()
  if (dead === undefined) return false
  const pair = { channel, name, incident_at: incidentAt }
  if (transition === 'opened') {
    await db
      .deleteFrom('alert_message')
      .where((e) => e.and(pair))
      .where('state', '<>', 'dead')
      .where('seq', '>', dead.seq)
      .execute()
  }
  if (cause === 'refused' && transition === 'opened')
    await db
      .updateTable('alert_told')
      .set({ state: 'refused' })
      .where((e) => e.and(pair))
      .execute()
  else if (cause === 'expired' && transition === 'resolved')
    await db
      .updateTable('alert_told')
      .set({ state: 'open' })
      .where((e) => e.and(pair))
      .execute()
  // Nobody was called. What was refused would be refused again at once.
  else if (transition === 'raised' || transition === 'reminded')
    await db
      .updateTable('alert_told')
      .set({ called_at: cause === 'expired' ? at : now })
      .where((e) => e.and(pair))
      .execute()
  else if (transition === 'opened' || transition === 'resolved')
    await db
      .deleteFrom('alert_told')
      .where((e) => e.and(pair))
      .execute()
  return true
}

/** @returns how many became dead letters */
export async function expire(db: StateDb, now: Now, maximumAgeMs: number): Promise<number> {
  const old = await db
    .selectFrom('alert_message')
    .selectAll()
    .where('state', '<>', 'dead')
    .where('at', '<=', later(now, -maximumAgeMs))
    .where((e) => e.or([e('leased_until', 'is', null), e('leased_until', '<=', now)]))
    .orderBy('seq')
    .forUpdate()
    .execute()
  let count = 0
  for (const { incident_at, ...message } of old) {
    const said = message.state === 'accepted' ? 'the provider never said what became of it' : 'too old'
    const reason = message.reason === null ? said : `${said}; last: ${message.reason}`
    if (await bury(db, now, { ...message, incidentAt: incident_at }, reason, 'expired')) count += 1
  }
  return count
}

export async function recordAttempt(
  db: StateDb,
  now: Now,
  channel: string,
  failure: string | undefined,
  holdMs?: number,
): Promise<void> {
  const values =
    failure === undefined
      ? { last_success_at: now, hold_until: null }
      : {
          last_failure_at: now,
          last_failure: failure,
          ...(holdMs === undefined ? {} : { hold_until: later(now, holdMs) }),
        }
  await db
    .insertInto('alert_channel')
    .values({ channel, ...values })
    .onConflict((conflict) => conflict.column('channel').doUpdateSet(values))
    .execute()
}
