import { generateKillmails } from '../generator/generate.js'
import { selectNowMs } from '../database.js'
import { loadKillmails } from '../loading/load.js'
import { formatCount } from '../output.js'
import { selectRowEstimates } from '../row-estimates.js'
import type { Part } from '../stage.js'
import { showRowEstimates } from './estimates-table.js'

/** As if a great battle had just happened: as many as a fifth of what is there. */
const share = 0.2
/** Younger than the clusterer's delay, so none of them is in a battle yet. */
const spanMs = 80 * 60_000

export const newKillmails: Part = {
  title: 'Third run: only what has changed',
  async run({ output, database, seed, signal, scheduler }) {
    const { rows } = await database.query<{ count: string; newest: string }>(
      'select count(*) as count, max(killmail_id) as newest from public.killmail_events',
    )
    const [{ count, newest } = { count: '0', newest: '0' }] = rows
    const nowMs = await selectNowMs(database)
    const killmails = generateKillmails({
      count: Math.max(1, Math.round(Number(count) * share)),
      seed: seed + 1,
      endsAtMs: nowMs,
      spanMs,
      firstId: Math.max(Number(newest), 0) + 1,
    })
    await loadKillmails(database, killmails, { nowMs, seed, signal })
    output.text(`Then ${formatCount(killmails.length)} new killmails arrive. Battles and accounts are as before:`, '')
    showRowEstimates(output, await selectRowEstimates(database))
    await scheduler('run')
    output.text('')
    showRowEstimates(output, await selectRowEstimates(database))
  },
}
