import type { Part } from '../stage.js'

const stuck = 5
const options = { SCHEDULER_TASKS: 'health' }

export const health: Part = {
  title: 'Health: what a human should know',
  async run({ output, database, schedulerWith }) {
    const { rows } = await database.query<{ killmail_id: string; status: string; updated_at: string }>(
      `select killmail_id, status, updated_at::text from public.killmail_enrichments order by killmail_id desc limit ${stuck}`,
    )
    const ids = rows.map(({ killmail_id: id }) => id)
    await database.query(
      `update public.killmail_enrichments set status = 'processing', updated_at = now() - interval '3 hours'
       where killmail_id = any ($1::bigint[])`,
      [ids],
    )
    output.text(
      `A worker died three hours ago, with ${stuck} enrichments in its hands. Nothing sweeps them up; the task health sees them.`,
      'Here are no services and no Redis: those checks are unknown, and say what is missing.',
      '',
    )
    await schedulerWith(options, 'run', '--json')
    await database.query(
      `update public.killmail_enrichments e set status = w.status, updated_at = w.updated_at::timestamptz
       from unnest($1::bigint[], $2::text[], $3::text[]) as w (killmail_id, status, updated_at)
       where e.killmail_id = w.killmail_id`,
      [ids, rows.map(({ status }) => status), rows.map(({ updated_at: at }) => at)],
    )
    output.text('', 'Somebody queues them again, and the finding is gone:', '')
    await schedulerWith(options, 'run', '--json')
  },
}
