/** The simulation's rows in PostgreSQL, at the simulation's time. */
import { sql } from 'kysely'
import { randomUUID } from 'node:crypto'
import { PostgresAlertStore } from '../../src/state/alert-store.js'
import type { World } from '../support.js'
import type { Backend } from './month.js'

export function postgresBackend(world: World, now: () => Date): Backend {
  const { database } = world
  const store = new PostgresAlertStore(world.connections, 'scheduler', { now: () => sql<Date>`${now()}::timestamptz` })
  let prepared = false
  const text = (date: Date) => date.toISOString()
  return {
    store,
    record: async ({ task, outcome, finishedAt, findings }) => {
      const at = text(finishedAt)
      const findingsText = JSON.stringify(findings).replaceAll("'", "''")
      await database.query(`
        INSERT INTO scheduler.task_run (run_id, task, ticket, slot_id, slot_at, late_by_ms, outcome, attempts, started_at, finished_at,
          duration_ms, action_count, findings, evaluated)
        VALUES ('${randomUUID()}', '${task}', '${randomUUID()}', '${task}@${at}', '${at}', 0, '${outcome}', 1, '${at}', '${at}', 1, 0,
          '${findingsText}', false)`)
    },
    ended: async (tasks, { startedAt, finishedAt }) => {
      if (!prepared) {
        prepared = true
        await database.query(
          `UPDATE scheduler.meta SET alerts_since = '${text(new Date(startedAt.getTime() - 86_400_000))}'`,
        )
        for (const { name, firstSeenAt } of tasks)
          await database.query(
            `INSERT INTO scheduler.task (name, first_seen_at) VALUES ('${name}', '${text(firstSeenAt)}')`,
          )
      }
      await database.query(`
        UPDATE scheduler.task SET last_claimed_at = '${text(finishedAt)}';
        INSERT INTO scheduler.run (id, started_at, finished_at, exit_code, version, holder, decisions)
        VALUES ('${randomUUID()}', '${text(startedAt)}', '${text(finishedAt)}', 0, '0', 'test', '[]')`)
    },
    deadLetters: async () =>
      Number(
        (
          await database.query<{ count: string }>(`SELECT count(*) FROM scheduler.alert_message WHERE state = 'dead'`)
        )[0]?.count,
      ),
  }
}
