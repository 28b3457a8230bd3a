import type { Part } from '../stage.js'
import { compareRollups } from './rollup-check.js'

const days = 3

export const rollups: Part = {
  title: 'Rollups, and killmails that wait for clustering',
  async run({ output, database, schedulerWith }) {
    output.text('Rollups per day for the product and for dashboards, and a look at what the clusterer has before it:')
    const options = { SCHEDULER_TASKS: 'statistics,cluster' }
    await schedulerWith(options, 'run')
    const { rows } = await database.query<{ from: string; to: string }>(
      `select to_char(min(occurred_at) at time zone 'UTC', 'YYYY-MM-DD') as from, to_char(max(occurred_at) at time zone 'UTC', 'YYYY-MM-DD') as to
       from public.killmail_events`,
    )
    const { from, to } = rows[0] ?? { from: '', to: '' }
    output.text(
      '',
      'A slot looks at the last days, and checks the older ones again within a week. All of them at once, on request:',
    )
    await schedulerWith(options, 'statistics', 'recalculate', '--from', from, '--to', to)
    const busiest = await database.query<{ day: string; battles: string; killmails: string; isk: string }>(
      `select day::text, sum(battles)::text as battles, sum(killmails)::text as killmails, round(sum(isk_destroyed) / 1e9, 1)::text as isk
       from scheduler.statistics_by_security_type group by day order by sum(killmails) desc limit ${days}`,
    )
    output.text('', 'The busiest days, from scheduler.statistics_by_security_type:', '')
    output.table([
      ['day', 'battles', 'killmails', 'billion ISK'],
      ...busiest.rows.map(({ day, battles, killmails, isk }) => [day, Number(battles), Number(killmails), isk]),
    ])

    output.text('', 'Whether they are right: every killmail and battle counted once more, by SQL of another shape:', '')
    const comparisons = await compareRollups(database)
    output.table([
      ['rollup', 'rows', 'that differ'],
      ...comparisons.map(({ rollup, rows, differing }) => [rollup, rows, differing]),
    ])
    if (comparisons.some(({ differing }) => differing > 0)) throw new Error('rollups differ from what was counted anew')
  },
}
