/** `backup list`: the dumps that the store has, or with --history every attempt that the database knows of. */
import { exitCodes, formatDuration, StateStore } from '@battlescope/scheduler-core'
import { selectBackups, tablesIn, type BackupRecord } from '@battlescope/task-backup/dumps'
import { loadConfiguration } from '../../configuration/load.js'
import { withDatabase } from '../../connect.js'
import type { Host } from '../../host.js'
import { Output } from '../../output.js'
import { sizeOf } from '../archive/list.js'
import { withDumps, type BackupCommandOptions } from './open-dumps.js'

export interface BackupListOptions extends BackupCommandOptions {
  readonly history?: boolean
}

const mostShown = 1000
const statementTimeoutMs = 30_000

export async function list(host: Host, options: BackupListOptions): Promise<number> {
  host.endAtSignal()
  const output = new Output(host)
  if (options.history === true) {
    const backups = await readHistory(host, options)
    if (options.json === true) output.json({ backups })
    else printHistory(output, backups)
    return exitCodes.ok.code
  }
  return withDumps(host, options, ({ store, listing }) => {
    const { dumps, unpromoted } = listing
    if (options.json === true) {
      output.json({ location: store.location, dumps, unpromoted })
      return Promise.resolve(exitCodes.ok.code)
    }
    if (dumps.length === 0) output.line(`there are no dumps in ${store.location}`)
    else {
      output.table(
        ['name', 'taken', 'state', 'size', 'database', 'object'],
        dumps.map(({ manifest, manifestObject, problem }) => [
          manifest?.name ?? '–',
          manifest?.startedAt.toISOString() ?? '–',
          problem === undefined ? 'good' : output.paint(problem, 'red'),
          manifest === undefined ? '–' : sizeOf(manifest.sizeBytes),
          manifest?.database.database ?? '–',
          manifest?.object ?? manifestObject,
        ]),
      )
    }
    for (const { name, sizeBytes } of unpromoted)
      output.note(
        `${name} (${sizeOf(sizeBytes)}) has no manifest: it is being written, or was left over; it is no backup`,
      )
    return Promise.resolve(exitCodes.ok.code)
  })
}

async function readHistory(host: Host, { flags }: BackupListOptions): Promise<readonly BackupRecord[]> {
  const { program } = await loadConfiguration(host, flags)
  return withDatabase(program, async ({ connections }) => {
    const { schemaVersion } = await new StateStore(connections, program.schema).readState()
    if (schemaVersion === undefined) return []
    return selectBackups(tablesIn(connections.reader({ statementTimeoutMs }), program.schema), mostShown)
  })
}

function printHistory(output: Output, backups: readonly BackupRecord[]): void {
  if (backups.length === 0) {
    output.line('no backup was ever begun')
    return
  }
  output.table(
    ['name', 'driver', 'state', 'announced', 'took', 'size', 'message'],
    backups.map(({ name, driver, state, announcedAt, startedAt, finishedAt, sizeBytes, message }) => [
      name,
      driver,
      state === 'succeeded'
        ? state
        : output.paint(state, state === 'failed' || state === 'vanished' ? 'red' : 'yellow'),
      announcedAt.toISOString(),
      startedAt === undefined || finishedAt === undefined
        ? '–'
        : formatDuration(Math.max(1000, Math.round((finishedAt.getTime() - startedAt.getTime()) / 1000) * 1000)),
      sizeBytes === undefined ? '–' : sizeOf(sizeBytes),
      message ?? '',
    ]),
  )
}
