import { metricBatch, type MetricBatch } from './metrics.js'
import { nextDueAt } from './plan.js'
import type { RegisteredTask } from './registry.js'
import type { StateStore } from './state/store.js'

const defaultIntervalMs = 300_000

/** Everything that there is to tell now, for the tasks of a registry. */
export async function selectMetricBatch(
  store: StateStore,
  entries: readonly RegisteredTask[],
  expectedIntervalMs = defaultIntervalMs,
): Promise<MetricBatch> {
  const rows = await store.selectMetricRows()
  const planned = entries.filter(({ schedule }) => schedule.kind !== 'every-run')
  // Most runs have tasks alone that run every time: these are never waited for.
  const state = planned.length === 0 ? undefined : await store.readState()
  return metricBatch({
    rows,
    nextDueAt:
      state === undefined
        ? new Map()
        : new Map(planned.map((entry) => [entry.name, nextDueAt(entry, state.tasks.get(entry.name), state.now)])),
    expectedIntervalMs,
  })
}
