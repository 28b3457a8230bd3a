/** `plan`: what `run` would do now, and why. The same code as `run`, with a gate that lists. */
import type { RunReport, TaskReport } from '@battlescope/scheduler-core'
import type { Host } from '../host.js'
import type { Output } from '../output.js'
import { run, type RunCommandOptions } from './run.js'

export function plan(host: Host, options: RunCommandOptions): Promise<number> {
  return run(host, { ...options, dryRun: true, ...(options.json === true ? {} : { present: presentPlan }) })
}

export function presentPlan(report: RunReport, output: Output): void {
  output.table(
    ['task', 'would', 'why', 'actions'],
    [
      ...report.tasks.map((task) => [
        task.name,
        verdict(task, output),
        reasonOf(task),
        String(task.run?.actions.length ?? 0),
      ]),
      ...report.disabled.map(({ name, reason, hint }) => [
        name,
        output.paint('be disabled', 'red'),
        [reason, hint].filter(Boolean).join('; '),
        '0',
      ]),
    ],
  )
  for (const { name, run: taskRun } of report.tasks) {
    if (taskRun === undefined || taskRun.actions.length === 0) continue
    output.line()
    output.line(output.paint(name, 'bold'))
    for (const { kind, target, reason } of taskRun.actions)
      output.line(`  ${kind} ${target}${reason === undefined ? '' : output.paint(`  ${reason}`, 'dim')}`)
  }
  for (const { name, run: taskRun } of report.tasks) {
    for (const { severity, summary } of taskRun?.findings ?? [])
      output.line(`${output.paint(severity, 'yellow')} ${name}: ${summary}`)
  }
}

function verdict({ run: taskRun }: TaskReport, output: Output): string {
  if (taskRun === undefined) return output.paint('not run', 'dim')
  const fine = taskRun.outcome === 'succeeded' || taskRun.outcome === 'partial'
  return fine ? output.paint('run', 'green') : output.paint(taskRun.outcome, 'yellow')
}

function reasonOf({ reason, run: taskRun }: TaskReport): string {
  return taskRun?.reason === undefined ? reason : `${reason}; ${taskRun.reason}`
}
