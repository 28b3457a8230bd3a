/** `backup restore`: brings a dump into a database. Which one, and whether it may, is settled before anything is changed. */
import { readFile } from 'node:fs/promises'
import { ConnectionStringError, openConnections, parseConnectionString } from '@battlescope/database'
import { codeOf, exitCodes, SchedulerError } from '@battlescope/scheduler-core'
import {
  checkDump,
  restoreDump,
  restoreProblems,
  selectTarget,
  type RestoreFlags,
  type TargetFacts,
} from '@battlescope/task-backup/dumps'
import { applicationName, explain } from '../../connect.js'
import type { Host } from '../../host.js'
import { Output } from '../../output.js'
import { chosenDump, mustHavePgRestore, programsFor, withDumps, type BackupCommandOptions } from './open-dumps.js'

export interface BackupRestoreOptions extends BackupCommandOptions, RestoreFlags {
  readonly name?: string
  readonly target: { readonly url: string } | { readonly file: string }
  readonly noOwner: boolean
  readonly dryRun: boolean
}

const statementTimeoutMs = 30_000

export async function restore(host: Host, options: BackupRestoreOptions): Promise<number> {
  // pg_restore works in one transaction, and ends with us.
  const url = await targetUrl(host, options.target)
  const target = parseTarget(url)
  if (target.password !== undefined) host.secrets.add([target.password])
  return withDumps(host, options, async ({ store, listing }) => {
    const { manifest, problem } = chosenDump(listing, options.name)
    if (manifest === undefined || problem !== undefined)
      throw new SchedulerError('usage', `that is no good backup: ${problem ?? ''}`, {
        hint: '`backup list` shows which are',
      })
    const programs = programsFor(host, target)
    await mustHavePgRestore(programs)
    const facts = await readTarget(url, host.stop)
    const problems = restoreProblems(manifest, facts, options)
    if (problems.length > 0) throw new SchedulerError('usage', `nothing was restored: ${problems.join('; ')}`)
    if (options.dryRun) await checkDump(store, programs, manifest.object, manifest, { signal: host.stop })
    else await restoreDump(store, programs, manifest, { noOwner: options.noOwner, signal: host.stop })
    const output = new Output(host)
    const said = { name: manifest.name, object: manifest.object, takenAt: manifest.startedAt, dryRun: options.dryRun }
    if (options.json === true) output.json({ ...said, target: `${target.host}:${target.port}/${target.database}` })
    else {
      const what = `${manifest.name}, of ${manifest.startedAt.toISOString()},`
      const where = `${target.database} on ${target.host}:${target.port}`
      output.line(
        options.dryRun
          ? `${what} is as it was written, and would be restored into ${where}`
          : `${what} is restored into ${where}; run ANALYZE there`,
      )
    }
    return exitCodes.ok.code
  })
}

async function targetUrl(host: Host, target: BackupRestoreOptions['target']): Promise<string> {
  if ('url' in target) return target.url
  try {
    return (await readFile(target.file, 'utf8')).trim()
  } catch (error) {
    throw new SchedulerError('usage', `--to-file: ${target.file} cannot be read: ${codeOf(error) ?? 'unknown error'}`)
  }
}

function parseTarget(url: string) {
  try {
    return parseConnectionString(url)
  } catch (error) {
    if (!(error instanceof ConnectionStringError)) throw error
    throw new SchedulerError(
      'usage',
      `the target: ${error.message}`,
      error.hint === undefined ? {} : { hint: error.hint },
    )
  }
}

async function readTarget(url: string, signal: AbortSignal): Promise<TargetFacts> {
  const connections = openConnections({ url, applicationName })
  try {
    return await selectTarget(connections.reader({ statementTimeoutMs, signal }))
  } catch (error) {
    throw explain(error)
  } finally {
    await connections.close()
  }
}
