/** `metrics`: the numbers that a collector gets, as Prometheus text. */
import { exitCodes, selectMetricBatch, StateStore } from '@battlescope/scheduler-core'
import { loadConfiguration, type Flags } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { Output } from '../output.js'
import { prometheusText } from '../telemetry/prometheus-text.js'
import { loadRegistry } from '../third-party/look.js'

/** Before the first run there is nothing to print: no numbers are better than zeros. */
export async function metrics(host: Host, flags: Flags): Promise<number> {
  host.endAtSignal()
  const configuration = await loadConfiguration(host, flags)
  const { schema, expectedInterval } = configuration.program
  const output = new Output(host)
  await withDatabase(configuration.program, async ({ connections }) => {
    const store = new StateStore(connections, schema)
    const state = await store.readState()
    if (state.instanceId === undefined) {
      output.note(`the schema '${schema}' of this version does not exist: the next run, or \`migrate\`, makes it`)
      return
    }
    const registry = await loadRegistry(host, configuration, state)
    output.text(prometheusText(await selectMetricBatch(store, registry.tasks, expectedInterval)))
  })
  return exitCodes.ok.code
}
