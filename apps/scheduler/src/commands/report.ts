/** `report`: a page to look at, made from what is on record. */
import {
  exitCodes,
  reportLimits,
  reportPeriod,
  schemaVersion,
  SchedulerError,
  selectReportRows,
  StateStore,
  type State,
} from '@battlescope/scheduler-core'
import { loadConfiguration, type Flags } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { Output } from '../output.js'
import { taskFacts, type ReportFacts } from '../report/facts.js'
import { renderReport } from '../report/page.js'
import { scrubbed } from '../report/scrub.js'
import { rowFlows } from '../report/sections/rows.js'
import { writeWhole } from '../report/write-file.js'
import { loadRegistry } from '../third-party/look.js'
import { version } from '../version.js'

export interface ReportOptions {
  readonly flags: Flags
  /** A path, or `-` for stdout. */
  readonly out: string
  readonly sinceMs: number
}

export async function report(host: Host, options: ReportOptions): Promise<number> {
  host.endAtSignal()
  const { sinceMs, out } = options
  if (sinceMs < reportLimits.shortestMs || sinceMs > reportLimits.longestMs)
    throw new SchedulerError('usage', '--since: expected from 1h to 5 years', { hint: 'such as 24h, 7d or 90d' })
  const output = new Output(host)
  const facts = await readFacts(host, options)
  const page = renderReport(scrubbed(facts, (text) => host.secrets.scrub(text)))
  if (facts.why !== undefined) output.note(facts.why)
  if (out === '-') {
    output.text(page)
    return exitCodes.ok.code
  }
  await writeWhole(out, page)
  output.note(`written: ${out}`)
  return exitCodes.ok.code
}

async function readFacts(host: Host, { flags, sinceMs }: ReportOptions): Promise<ReportFacts> {
  const configuration = await loadConfiguration(host, flags)
  const { program } = configuration
  const { schema } = program
  const read = await withDatabase(program, async ({ connections, facts }) => {
    const store = new StateStore(connections, schema)
    const state = await store.readState()
    const period = reportPeriod(state.now, sinceMs)
    // Tables of another version may lack what is asked for.
    const readable = state.schemaVersion === schemaVersion
    return {
      state,
      period,
      database: { name: facts.database, version: facts.version },
      lastRuns: readable ? await store.selectLastRuns() : [],
      rows: readable ? await selectReportRows(connections, schema, period, { flows: rowFlows }) : undefined,
    }
  })
  const { state, lastRuns, ...rest } = read
  const registry = await loadRegistry(host, configuration, state)
  const known = new Set(registry.tasks.map(({ name }) => name))
  return {
    ...rest,
    version,
    expectedIntervalMs: program.expectedInterval,
    historyKeptMs: program.historyRetention,
    tasks: registry.tasks.map((entry) =>
      taskFacts(
        entry,
        state,
        lastRuns.find(({ task }) => task === entry.name),
      ),
    ),
    notEnabled: [...state.tasks.keys()].filter((name) => !known.has(name) && !name.includes(':')),
    disabled: registry.disabled,
    why: whyNothing(state, schema),
  }
}

function whyNothing({ schemaVersion: found }: State, schema: string): string | undefined {
  if (found === undefined)
    return `Nothing has run here yet: the schema '${schema}' does not exist. The first run makes it.`
  if (found === schemaVersion) return undefined
  const older = `The next run, or \`migrate\`, updates it.`
  const newer = `A newer version made it: use that one.`
  return `The schema '${schema}' is of version ${found}, and this program reads version ${schemaVersion}. ${found < schemaVersion ? older : newer}`
}
