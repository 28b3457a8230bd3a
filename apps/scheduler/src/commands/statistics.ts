/** `statistics`: counts a range of days anew, and installs or removes the triggers of mode exact, by asking the task. */
import { exitCodes, formatDuration } from '@battlescope/scheduler-core'
import { statistics, type StatisticsRequest } from '@battlescope/task-statistics'
import { loadConfiguration, type Flags } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { Output, outcomeColour } from '../output.js'
import { askTask, type Asked } from './ask-task.js'

export interface StatisticsCommandOptions {
  readonly flags: Flags
  readonly dryRun: boolean
  readonly json: boolean
}

/** @returns 0 also where days differed: that is what the command looks for */
export async function askStatistics(
  host: Host,
  request: StatisticsRequest,
  { flags, dryRun, json }: StatisticsCommandOptions,
): Promise<number> {
  const configuration = await loadConfiguration(host, flags)
  const asked = await withDatabase(
    configuration.program,
    ({ connections }) => askTask(host, configuration, connections, { task: statistics, request, dryRun }),
    { signal: host.stop },
  )
  const answer = answerOf(asked, dryRun)
  const output = new Output(host)
  if (json) output.json(answer)
  else print(output, answer)
  return answer.exitCode
}

function answerOf({ reports, task, findings, exitCode }: Asked, dryRun: boolean) {
  const unfinished = task.run === undefined || task.run.outcome === 'partial'
  return {
    dryRun,
    outcome: task.run?.outcome ?? 'not run',
    reason: task.run === undefined ? task.reason : task.run.reason,
    runs: reports.length,
    durationMs: Math.round(reports.reduce((sum, { durationMs }) => sum + durationMs, 0)),
    actions: reports.flatMap(({ tasks }) => tasks.flatMap(({ run }) => run?.actions ?? [])),
    findings,
    // Out of budget before it began: fine for a schedule, but not what was asked for.
    exitCode: exitCode === exitCodes.ok.code && unfinished && !dryRun ? exitCodes.taskFailed.code : exitCode,
  }
}

/** A long range has thousands of actions; `history --actions` has them all. */
const mostActions = 40

function print(output: Output, answer: ReturnType<typeof answerOf>): void {
  for (const { kind, target, reason } of answer.actions.slice(0, mostActions))
    output.line(`  ${kind} ${target}${reason === undefined ? '' : output.paint(`  ${reason}`, 'dim')}`)
  if (answer.actions.length > mostActions)
    output.line(output.paint(`  and ${answer.actions.length - mostActions} more: history --actions`, 'dim'))
  for (const { severity, summary } of answer.findings) output.line(`${output.paint(severity, 'yellow')} ${summary}`)
  const took = formatDuration(Math.max(1, answer.durationMs))
  const how = answer.dryRun ? 'nothing was changed' : `after ${answer.runs} run${answer.runs === 1 ? '' : 's'}, ${took}`
  const why = answer.reason === undefined ? '' : ` (${answer.reason})`
  output.line(`statistics: ${output.paint(answer.outcome, outcomeColour(answer.outcome))}${why}, ${how}`)
}
