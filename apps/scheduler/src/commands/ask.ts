/**
 * Commands that change data: they ask a task for it, in runs of its own, one after another until it says that it is done
 * (docs/adr/0007). Each run has its own budget; what one has saved, the next goes on with, also after a kill.
 */
import {
  exitCodes,
  formatDuration,
  type PlannedAction,
  type RunReport,
  type TaskReport,
} from '@battlescope/scheduler-core'
import type { Host } from '../host.js'
import { Output, outcomeColour } from '../output.js'
import { run } from './run.js'

/** Runs in a row that leave as much to do as they found; then something stands in the way, and a human should look. */
const mostIdleRuns = 3

export interface Question {
  readonly task: string
  readonly request: unknown
  readonly flags: Readonly<Record<string, string>>
  readonly dryRun?: boolean
  readonly json?: boolean
}

/** What all runs of one question did. */
interface Answer {
  readonly task: string
  readonly outcome: string
  readonly reason: string | undefined
  readonly runs: number
  readonly durationMs: number
  readonly actions: readonly PlannedAction[]
  readonly findings: NonNullable<TaskReport['run']>['findings']
  readonly exitCode: number
}

/** @returns the exit code of the last run; 1 when the task comes no further */
export async function ask(host: Host, question: Question): Promise<number> {
  const output = new Output(host)
  const actions: PlannedAction[] = []
  let durationMs = 0
  let idleRuns = 0
  let left = Infinity
  for (let runs = 1; ; runs += 1) {
    const report = await runOnce(host, question)
    const asked = report.tasks.find(({ name }) => name === question.task)
    actions.push(...(asked?.run?.actions ?? []))
    durationMs += report.durationMs
    const remaining = asked?.run?.remaining ?? 0
    idleRuns = remaining < left ? 0 : idleRuns + 1
    left = remaining
    const goesOn =
      asked?.run?.outcome === 'partial' && report.exitCode === exitCodes.ok.code && question.dryRun !== true
    if (goesOn && idleRuns < mostIdleRuns) {
      output.note(`${question.task}: ${remaining} left`)
      continue
    }
    const answer: Answer = {
      task: question.task,
      outcome: asked?.run?.outcome ?? 'not run',
      reason: asked?.run === undefined ? asked?.reason : asked.run.reason,
      runs,
      durationMs: Math.round(durationMs),
      actions,
      findings: asked?.run?.findings ?? [],
      // Paused, or out of budget before it began: fine for a schedule, but not what was asked for.
      exitCode:
        goesOn || (asked?.run === undefined && report.exitCode === exitCodes.ok.code)
          ? exitCodes.taskFailed.code
          : report.exitCode,
    }
    if (question.json === true) output.json(answer)
    else present(answer, question, output)
    return answer.exitCode
  }
}

async function runOnce(host: Host, { task, request, flags, dryRun = false }: Question): Promise<RunReport> {
  let seen: RunReport | undefined
  await run(host, {
    requests: { [task]: request },
    flags,
    dryRun,
    present: (report) => {
      seen = report
    },
  })
  if (seen === undefined) throw new Error('the run ended without a report')
  return seen
}

function present(answer: Answer, { dryRun = false }: Question, output: Output): void {
  // A long piece of work has thousands of actions; `history --actions` has them all.
  const most = 40
  for (const { kind, target, reason } of answer.actions.slice(0, most))
    output.line(`  ${kind} ${target}${reason === undefined ? '' : output.paint(`  ${reason}`, 'dim')}`)
  if (answer.actions.length > most)
    output.line(output.paint(`  and ${answer.actions.length - most} more: history --actions`, 'dim'))
  for (const { severity, summary } of answer.findings) output.line(`${output.paint(severity, 'yellow')} ${summary}`)
  const took = formatDuration(Math.max(1, answer.durationMs))
  const verb = dryRun
    ? 'would be done; nothing was changed'
    : `after ${answer.runs} run${answer.runs === 1 ? '' : 's'}, ${took}`
  output.line(
    `${answer.task}: ${output.paint(answer.outcome, outcomeColour(answer.outcome))}${answer.reason === undefined ? '' : ` (${answer.reason})`}, ${verb}`,
  )
}
