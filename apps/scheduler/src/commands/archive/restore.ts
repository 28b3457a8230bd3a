/** `archive restore`: brings rows back, by asking retention. */
import { randomUUID } from 'node:crypto'
import { selectArchivedRelations } from '@battlescope/archive'
import { didYouMean, exitCodes, SchedulerError } from '@battlescope/scheduler-core'
import { retention } from '@battlescope/task-retention'
import { withDatabase } from '../../connect.js'
import type { Host } from '../../host.js'
import { Output } from '../../output.js'
import { askTask, type Asked } from '../ask-task.js'
import { withArchive, type ArchiveCommandOptions } from './open-archive.js'
import type { Selection } from './selection.js'

export interface RestoreOptions extends ArchiveCommandOptions {
  readonly selection: Selection & { readonly fromMonth: string; readonly toMonth: string }
  /** Milliseconds. */
  readonly holdMs?: number
  readonly dryRun?: boolean
  readonly ignoreDroppedColumns?: boolean
}

export async function restore(host: Host, options: RestoreOptions): Promise<number> {
  const { fromMonth, toMonth, relations } = options.selection
  const { configuration, known } = await withArchive(host, options, {}, async ({ catalog, configuration: own }) => ({
    configuration: own,
    known: catalog === undefined ? undefined : await selectArchivedRelations(catalog.db),
  }))
  const output = new Output(host)
  if (known === undefined) {
    output.line('the catalog knows of no archive; where the store has one, `archive adopt` builds the catalog')
    return exitCodes.ok.code
  }
  for (const { key } of relations ?? []) refuseUnknown(key, known)
  const request = {
    do: 'restore',
    id: randomUUID(),
    from: fromMonth,
    to: toMonth,
    ...(relations === undefined ? {} : { relations: relations.map(({ key }) => key) }),
    ...(options.holdMs === undefined ? {} : { holdMs: options.holdMs }),
    ignoreDroppedColumns: options.ignoreDroppedColumns === true,
  }
  const dryRun = options.dryRun === true
  const asked = await withDatabase(
    configuration.program,
    ({ connections }) => askTask(host, configuration, connections, { task: retention, request, dryRun }),
    { signal: host.stop },
  )
  if (options.json === true) output.json(jsonOf(asked, dryRun))
  else print(output, asked, dryRun)
  return exitCodeOf(asked)
}

/** What a request did is said by its findings, too: an archive that could not be brought back whole is no success. */
export function exitCodeOf({ exitCode, findings, task }: Asked): number {
  if (exitCode !== 0) return exitCode
  if (findings.length > 0) return exitCodes.findings.code
  return task.run === undefined || task.run.outcome === 'partial' ? exitCodes.taskFailed.code : exitCodes.ok.code
}

function refuseUnknown(key: string, known: readonly { readonly relation: string; readonly decidedBy: string }[]): void {
  if (known.some(({ decidedBy }) => decidedBy === key)) return
  const with_ = known.find(({ relation }) => relation === key)
  if (with_ !== undefined) {
    throw new SchedulerError('usage', `--relation: ${key} is archived together with ${with_.decidedBy}`, {
      hint: `restore --relation ${with_.decidedBy}: rows come back with those that they hang on`,
    })
  }
  const names = [...new Set(known.map(({ decidedBy }) => decidedBy))]
  throw new SchedulerError('usage', `--relation: nothing of ${key} is archived`, {
    hint: didYouMean(key, names) ?? `archived: ${names.join(', ')}`,
  })
}

function restoredRows({ counts }: Asked) {
  const inserted = counts.get('restored_rows') ?? new Map<string, number>()
  const there = counts.get('rows_already_there') ?? new Map<string, number>()
  return [...new Set([...inserted.keys(), ...there.keys()])].sort().map((relation) => ({
    relation,
    inserted: inserted.get(relation) ?? 0,
    alreadyThere: there.get(relation) ?? 0,
  }))
}

function jsonOf(asked: Asked, dryRun: boolean) {
  return {
    dryRun,
    outcome: asked.task.run?.outcome ?? 'not-run',
    reason: asked.task.run?.reason ?? asked.task.reason,
    runs: asked.reports.length,
    relations: restoredRows(asked),
    ...(dryRun ? { actions: asked.task.run?.actions ?? [] } : {}),
    findings: asked.findings,
  }
}

function print(output: Output, asked: Asked, dryRun: boolean): void {
  const { run } = asked.task
  if (run === undefined || run.outcome === 'skipped' || asked.exitCode !== 0) {
    output.line(run === undefined ? `not run: ${asked.task.reason}` : `${run.outcome}: ${run.reason ?? ''}`)
  }
  if (dryRun) {
    for (const { kind, target, reason } of run?.actions ?? [])
      output.line(`${kind} ${target}${reason === undefined ? '' : output.paint(`  ${reason}`, 'dim')}`)
  } else if (run !== undefined) {
    const rows = restoredRows(asked)
    if (rows.length > 0) {
      output.table(
        ['relation', 'restored', 'already there'],
        rows.map(({ relation, inserted, alreadyThere }) => [relation, String(inserted), String(alreadyThere)]),
      )
    }
  }
  printFindings(output, asked)
}

export function printFindings(output: Output, { findings }: Asked): void {
  for (const { severity, summary, details } of findings) {
    output.line(`${output.paint(severity, severity === 'warning' ? 'yellow' : 'red')} ${summary}`)
    const hint = details?.['hint']
    if (typeof hint === 'string') output.line(`  ${output.paint('hint', 'cyan')}: ${hint}`)
  }
}
