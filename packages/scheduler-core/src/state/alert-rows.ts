/** What the alerts know, read in one statement. */
import { sql, type RawBuilder } from 'kysely'
import { jsonArrayFrom } from 'kysely/helpers/postgres'
import type { AlertContent } from '../alerts/channel.js'
import type { AlertRow, Mute } from '../alerts/plan-alerts.js'
import type { ChangeRow } from '../alerts/plan-changes.js'
import type { ToldRow, WaitingMessage } from '../alerts/plan-messages.js'
import type { Finding } from '../task.js'
import type { Outcome, StateDb, StoredContent } from './tables.js'

/** Runs of tasks taken up at once; the rest is for the next run. */
const mostEvidence = 500
/** The same of changes: one that reports thousands must not make a reading of megabytes. */
const mostChanges = 100

/** A run of a task that is not taken up yet. */
export interface EvidenceRow {
  /** Of `task_run`. */
  readonly id: string
  readonly task: string
  readonly outcome: Outcome
  readonly finishedAt: Date
  readonly findings: readonly Finding[]
}

export interface AlertTaskRow {
  readonly name: string
  readonly firstSeenAt: Date
  readonly lastClaimedAt: Date | undefined
  readonly consecutiveFailures: number
  readonly consecutiveExpiries: number
  readonly claimExpired: boolean
  readonly paused: boolean
  readonly lastSuccessAt: Date | undefined
  readonly lastReason: string | undefined
}

export interface AlertChannelRow {
  readonly channel: string
  readonly waiting: number
  readonly oldestWaitingAt: Date | undefined
  readonly deadLetters: number
  readonly newestDeadAt: Date | undefined
  readonly lastDeadReason: string | undefined
  readonly lastSuccessAt: Date | undefined
  readonly lastFailureAt: Date | undefined
  readonly lastFailure: string | undefined
}

export interface AlertReading {
  readonly instanceId: string
  /** Database time. */
  readonly now: Date
  readonly alertsSince: Date
  readonly rows: readonly AlertRow[]
  readonly mutes: readonly (Mute & { readonly mutedAt: Date })[]
  readonly told: readonly ToldRow[]
  readonly waiting: readonly WaitingMessage[]
  readonly evidence: readonly EvidenceRow[]
  readonly changes: readonly ChangeRow[]
  readonly tasks: readonly AlertTaskRow[]
  readonly channels: readonly AlertChannelRow[]
  /** The newest runs of the scheduler, newest first, without those that commands asked for. */
  readonly runs: readonly { readonly startedAt: Date; readonly finishedAt: Date }[]
}

/** @param now the time to go by; database time but in tests */
export async function selectAlertReading(db: StateDb, now: RawBuilder<Date>): Promise<AlertReading> {
  const row = await db
    .selectFrom('meta')
    .select((e) => [
      'meta.instance_id',
      'meta.alerts_since',
      now.as('now'),
      jsonArrayFrom(e.selectFrom('alert').selectAll('alert').orderBy('name')).as('alerts'),
      jsonArrayFrom(e.selectFrom('alert_mute').selectAll('alert_mute').where('until', '>', now).orderBy('pattern')).as(
        'mutes',
      ),
      jsonArrayFrom(e.selectFrom('alert_told').selectAll('alert_told').orderBy('channel').orderBy('name')).as('told'),
      jsonArrayFrom(
        e
          .selectFrom('alert_message')
          .select([
            'id',
            'channel',
            'name',
            'incident_at',
            'transition',
            'at',
            sql<boolean>`attempts = 0 AND leased_until IS NULL`.as('untouched'),
          ])
          .where('state', '<>', 'dead')
          .orderBy('seq'),
      ).as('waiting'),
      jsonArrayFrom(
        e
          .selectFrom('task_run')
          .select((run) => [run.cast<string>('id', 'text').as('id'), 'task', 'outcome', 'finished_at', 'findings'])
          .where('evaluated', '=', false)
          .orderBy('task_run.id')
          .limit(mostEvidence),
      ).as('evidence'),
      jsonArrayFrom(
        e
          .selectFrom('change')
          .select((change) => [
            change.cast<string>('id', 'text').as('id'),
            'task',
            'slot_id',
            'key',
            'summary',
            'details',
            'links',
            'at',
          ])
          .orderBy('change.id')
          .limit(mostChanges),
      ).as('changes'),
      jsonArrayFrom(
        e
          .selectFrom('task')
          .leftJoin('claim', 'claim.ticket', 'task.ticket')
          .leftJoin('pause', 'pause.task', 'task.name')
          .select((task) => [
            'task.name',
            'task.first_seen_at',
            'task.last_claimed_at',
            'task.consecutive_failures',
            'task.consecutive_expiries',
            sql<boolean>`coalesce(claim.expires_at < ${now}, false)`.as('claim_expired'),
            sql<boolean>`pause.task IS NOT NULL AND (pause.until IS NULL OR pause.until > ${now})`.as('paused'),
            task
              .selectFrom('task_run')
              .select('finished_at')
              .whereRef('task_run.task', '=', 'task.name')
              .where('outcome', 'in', ['succeeded', 'skipped'])
              .orderBy('finished_at', 'desc')
              .limit(1)
              .as('last_success_at'),
            task
              .selectFrom('task_run')
              .select('reason')
              .whereRef('task_run.task', '=', 'task.name')
              .orderBy('finished_at', 'desc')
              .limit(1)
              .as('last_reason'),
          ])
          .orderBy('task.name'),
      ).as('tasks'),
      jsonArrayFrom(
        e
          .selectFrom('alert_message')
          .fullJoin('alert_channel', 'alert_channel.channel', 'alert_message.channel')
          .select([
            sql<string>`coalesce(alert_message.channel, alert_channel.channel)`.as('channel'),
            sql<number>`count(*) FILTER (WHERE state <> 'dead')`.as('waiting'),
            sql<string | null>`min(at) FILTER (WHERE state <> 'dead')`.as('oldest_waiting_at'),
            sql<number>`count(*) FILTER (WHERE state = 'dead')`.as('dead_letters'),
            sql<string | null>`max(dead_at)`.as('newest_dead_at'),
            sql<string | null>`(array_agg(reason ORDER BY dead_at DESC) FILTER (WHERE state = 'dead'))[1]`.as(
              'last_dead_reason',
            ),
            'alert_channel.last_success_at',
            'alert_channel.last_failure_at',
            'alert_channel.last_failure',
          ])
          .groupBy([sql`1`, 'last_success_at', 'last_failure_at', 'last_failure'])
          .orderBy(sql`1`),
      ).as('channels'),
      jsonArrayFrom(
        e
          .selectFrom('run')
          .select(['started_at', 'finished_at'])
          .where(sql<boolean>`NOT decisions @> '[{"requested": true}]'::jsonb`)
          .orderBy('started_at', 'desc')
          .orderBy('id')
          .limit(3),
      ).as('runs'),
    ])
    .executeTakeFirstOrThrow()
  return {
    instanceId: row.instance_id,
    now: row.now,
    alertsSince: row.alerts_since,
    rows: row.alerts.map((alert) => ({
      name: alert.name,
      task: alert.task ?? undefined,
      findingKey: alert.finding_key,
      key: alert.dedup_key,
      state: alert.state,
      severity: alert.severity,
      summary: alert.summary,
      details: alert.details,
      dependsOn: alert.depends_on,
      firstSeenAt: instant(alert.first_seen_at),
      lastSeenAt: instant(alert.last_seen_at),
      openedAt: optional(alert.opened_at),
      resolvedAt: optional(alert.resolved_at),
      resolution: alert.resolution ?? undefined,
      goodRuns: alert.good_runs,
      goodSince: optional(alert.good_since),
      lastGoodAt: optional(alert.last_good_at),
      openings: alert.openings.map(instant),
      flapping: alert.flapping,
      silence: alert.silence ?? undefined,
    })),
    mutes: row.mutes.map(({ pattern, until, reason, muted_at }) => ({
      pattern,
      until: instant(until),
      reason: reason ?? undefined,
      mutedAt: instant(muted_at),
    })),
    told: row.told.map((told) => ({
      channel: told.channel,
      name: told.name,
      incidentAt: instant(told.incident_at),
      state: told.state,
      content: contentFromJson(told.content),
      calledSeverity: told.called_severity,
      toldAt: instant(told.told_at),
      calledAt: optional(told.called_at),
      target: told.target ?? undefined,
    })),
    waiting: row.waiting.map(({ id, channel, name, transition, untouched, ...times }) => ({
      id,
      channel,
      name,
      transition,
      untouched,
      incidentAt: instant(times.incident_at),
      at: instant(times.at),
    })),
    evidence: row.evidence.map(({ id, task, outcome, findings, ...times }) => ({
      id,
      task,
      outcome,
      findings,
      finishedAt: instant(times.finished_at),
    })),
    changes: row.changes.map(({ slot_id, key, at, ...change }) => ({
      ...change,
      slotId: slot_id,
      changeKey: key,
      at: instant(at),
    })),
    tasks: row.tasks.map((task) => ({
      name: task.name,
      firstSeenAt: instant(task.first_seen_at),
      lastClaimedAt: optional(task.last_claimed_at),
      consecutiveFailures: task.consecutive_failures,
      consecutiveExpiries: task.consecutive_expiries,
      claimExpired: task.claim_expired,
      paused: task.paused,
      lastSuccessAt: optional(task.last_success_at),
      lastReason: task.last_reason ?? undefined,
    })),
    channels: row.channels.map((channel) => ({
      channel: channel.channel,
      waiting: channel.waiting,
      oldestWaitingAt: optional(channel.oldest_waiting_at),
      deadLetters: channel.dead_letters,
      newestDeadAt: optional(channel.newest_dead_at),
      lastDeadReason: channel.last_dead_reason ?? undefined,
      lastSuccessAt: optional(channel.last_success_at),
      lastFailureAt: optional(channel.last_failure_at),
      lastFailure: channel.last_failure ?? undefined,
    })),
    runs: row.runs.map((run) => ({ startedAt: instant(run.started_at), finishedAt: instant(run.finished_at) })),
  }
}

export function contentFromJson({ task, openedAt, ...content }: StoredContent): AlertContent {
  return { ...content, task, openedAt: new Date(openedAt) }
}

function instant(text: string | Date): Date {
  return new Date(text)
}

function optional(text: string | Date | null): Date | undefined {
  return text === null ? undefined : new Date(text)
}
