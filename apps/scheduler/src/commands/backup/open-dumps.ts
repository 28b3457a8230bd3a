/** Dumps as commands look at them: by what the store says alone, because the database may be what is lost. */
import type { StoreReader } from '@battlescope/cold-storage'
import { parseConnectionString, type ConnectionTarget } from '@battlescope/database'
import { codeOf, SchedulerError } from '@battlescope/scheduler-core'
import type { ProgramRunner } from '@battlescope/task-backup'
import { listDumps, openPrograms, type DumpListing, type ListedDump } from '@battlescope/task-backup/dumps'
import type { Flags } from '../../configuration/load.js'
import type { Host } from '../../host.js'
import { withArchive } from '../archive/open-archive.js'

export interface BackupCommandOptions {
  readonly flags?: Flags
  readonly json?: boolean
}

export interface OpenDumps {
  readonly store: StoreReader
  readonly listing: DumpListing
}

/** @throws SchedulerError */
export function withDumps<T>(
  host: Host,
  options: BackupCommandOptions,
  work: (dumps: OpenDumps) => Promise<T>,
): Promise<T> {
  return withArchive(host, options, { manifestsOnly: true }, async ({ store }) => {
    try {
      return await work({ store, listing: await listDumps(store, host.stop) })
    } catch (error) {
      throw explainProgram(error)
    }
  })
}

/** Programs of the machine. Without a target they reach no database. */
export function programsFor(host: Host, target?: ConnectionTarget): ProgramRunner {
  return openPrograms({
    target: target ?? parseConnectionString('postgresql://nobody@localhost/nothing'),
    environment: host.environment,
    signal: host.stop,
  })
}

/** @throws SchedulerError `configuration` where pg_restore is missing */
export async function mustHavePgRestore(programs: ProgramRunner): Promise<void> {
  if (await programs.has('pg_restore')) return
  throw new SchedulerError('configuration', 'there is no pg_restore here', {
    hint: 'run this command where the client tools of PostgreSQL are (on Debian: postgresql-client)',
  })
}

/** @throws SchedulerError `usage` when none has this name, or several have, or it is no good one */
export function chosenDump({ dumps }: DumpListing, name: string | undefined): ListedDump {
  const found =
    name === undefined
      ? dumps.filter(({ problem }) => problem === undefined).slice(0, 1)
      : dumps.filter(
          ({ manifest, manifestObject }) =>
            manifest?.name === name || manifest?.object.endsWith(name) === true || manifestObject.endsWith(name),
        )
  const [dump] = found
  if (dump !== undefined && found.length === 1) return dump
  const hint = '`backup list` prints their names'
  if (found.length > 1) {
    const objects = found.map(({ manifest, manifestObject }) => manifest?.object ?? manifestObject).join(', ')
    throw new SchedulerError('usage', `several backups have the name '${name ?? ''}': ${objects}`, {
      hint: 'two databases back up into this prefix; give the end of the object',
    })
  }
  throw new SchedulerError('usage', name === undefined ? 'there is no good backup' : `there is no backup '${name}'`, {
    hint,
  })
}

function explainProgram(error: unknown): unknown {
  const code = codeOf(error)
  if (code !== 'dump-unfit' && code?.startsWith('program-') !== true) return error
  const { message, hint } = error as { readonly message: string; readonly hint?: string }
  return new SchedulerError('client-unavailable', message, { cause: error, ...(hint === undefined ? {} : { hint }) })
}
