/** What a report on a period is made of: one snapshot, of a size that does not depend on how long the history is. */
import type { Connections, UnitOfWork } from '../../connections.js'
import type { StateDb } from '../tables.js'
import {
  selectActionTotals,
  selectFlowParts,
  selectFlowTargets,
  type ActionTotals,
  type FlowPart,
  type Flows,
  type FlowTarget,
} from './action-rows.js'
import { selectGrowth, type Growth } from './growth-rows.js'
import type { ReportPeriod } from './period.js'
import {
  selectProblems,
  selectRunParts,
  selectRunTotals,
  selectTaskParts,
  selectTaskTotals,
  type RunProblem,
  type RunPart,
  type RunTotals,
  type TaskPart,
  type TaskTotals,
} from './run-rows.js'

export { partsOf, reportLimits, reportPeriod, type ReportPeriod } from './period.js'
export { mostTasks } from './run-rows.js'
export type { ActionTotals, FlowPart, Flows, FlowTarget, Growth, RunProblem, RunPart, RunTotals, TaskPart, TaskTotals }
export type { Durations, OutcomeCounts } from './run-rows.js'
export type { RelationGrowth, SizePoint } from './growth-rows.js'

/** Milliseconds for one statement: somebody is waiting, and may have years of history. */
const statementTimeoutMs = 30_000

export interface ReportRows {
  readonly runParts: readonly RunPart[]
  readonly runTotals: RunTotals
  readonly taskTotals: readonly TaskTotals[]
  readonly taskParts: readonly TaskPart[]
  readonly problems: readonly RunProblem[]
  readonly actionTotals: readonly ActionTotals[]
  readonly flowParts: readonly FlowPart[]
  readonly flowTargets: readonly FlowTarget[]
  readonly growth: Growth
}

/** The schema must be of this version ({@link schemaVersion}). Needs SELECT on the scheduler's own tables, and nothing else. */
export function selectReportRows(
  connections: Pick<Connections, 'snapshot'>,
  schema: string,
  period: ReportPeriod,
  options: { readonly flows: Flows; readonly signal?: AbortSignal },
): Promise<ReportRows> {
  const { flows, signal } = options
  const unit: UnitOfWork = { statementTimeoutMs, ...(signal === undefined ? {} : { signal }) }
  return connections.snapshot(unit, async (session) => {
    const db = (session.db as StateDb).withSchema(schema)
    const taskTotals = await selectTaskTotals(db, period)
    return {
      runParts: await selectRunParts(db, period),
      runTotals: await selectRunTotals(db, period),
      taskTotals,
      taskParts: await selectTaskParts(
        db,
        period,
        taskTotals.map(({ task }) => task),
      ),
      problems: await selectProblems(db, period),
      actionTotals: await selectActionTotals(db, period),
      flowParts: await selectFlowParts(db, period, flows),
      flowTargets: await selectFlowTargets(db, period, flows),
      growth: await selectGrowth(db, schema, period),
    }
  })
}
