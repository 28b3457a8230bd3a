/** `history`: past runs, or the audit trail of their actions. */
import { formatDuration, formatSize, StateStore } from '@battlescope/scheduler-core'
import { loadConfiguration } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { Output, outcomeColour } from '../output.js'
import type { InspectOptions } from './inspect.js'

export interface HistoryOptions extends InspectOptions {
  readonly task?: string
  readonly sinceMs: number
  readonly limit: number
  readonly actions?: boolean
}

export async function history(host: Host, options: HistoryOptions): Promise<number> {
  host.endAtSignal()
  const { program } = await loadConfiguration(host, options.flags)
  const { limit } = options
  // One more than is shown tells whether there are more.
  const filter = { task: options.task, sinceMs: options.sinceMs, limit: limit + 1 }
  const { runs, actions } = await withDatabase(program, async ({ connections }) => {
    const store = new StateStore(connections, program.schema)
    const migrated = (await store.readState()).schemaVersion !== undefined
    return {
      runs: migrated && options.actions !== true ? await store.selectHistory(filter) : [],
      actions: migrated && options.actions === true ? await store.selectActions(filter) : [],
    }
  })
  const output = new Output(host)
  const more = Math.max(runs.length, actions.length) > limit
  if (options.json === true) {
    output.json(
      options.actions === true ? { actions: actions.slice(0, limit), more } : { runs: runs.slice(0, limit), more },
    )
    return 0
  }
  if (options.actions === true) {
    output.table(
      ['at', 'task', 'action', 'target', 'result', 'rows', 'took'],
      actions
        .slice(0, limit)
        .map((row) => [
          row.at.toISOString(),
          row.task,
          row.kind,
          row.target,
          row.result,
          row.row_count ?? '–',
          row.duration_ms === null ? '–' : formatDuration(Math.max(1, Number(row.duration_ms))),
        ]),
    )
  } else {
    output.table(
      ['finished', 'task', 'outcome', 'slot', 'took', 'memory', 'actions', 'reason'],
      runs
        .slice(0, limit)
        .map((row) => [
          row.finished_at.toISOString(),
          row.task,
          output.paint(row.outcome, outcomeColour(row.outcome)),
          row.slot_id,
          formatDuration(Math.max(1, Number(row.duration_ms))),
          row.peak_memory_bytes === null
            ? '–'
            : formatSize(Math.round(Number(row.peak_memory_bytes) / 2 ** 20) * 2 ** 20),
          String(row.action_count),
          row.reason ?? '',
        ]),
    )
  }
  if (more)
    output.line(output.paint(`there are more: these are the newest ${limit}; --limit shows more of them`, 'yellow'))
  return 0
}
