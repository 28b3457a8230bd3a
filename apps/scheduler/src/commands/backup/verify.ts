/** `backup verify`: reads dumps back and holds them against their manifests; deep, pg_restore unpacks all of them. */
import { codeOf, exitCodes, messageOf } from '@battlescope/scheduler-core'
import { checkDump, type ListedDump } from '@battlescope/task-backup/dumps'
import type { Host } from '../../host.js'
import { Output } from '../../output.js'
import { sizeOf } from '../archive/list.js'
import { chosenDump, mustHavePgRestore, programsFor, withDumps, type BackupCommandOptions } from './open-dumps.js'

export interface BackupVerifyOptions extends BackupCommandOptions {
  readonly name?: string
  readonly deep: boolean
}

interface Verified {
  readonly name: string
  readonly object: string
  readonly sizeBytes: number | undefined
  /** Undefined: it is what was written, and pg_restore understands it. */
  readonly problem: string | undefined
}

/** @returns 80 when anything is not as it should be, or there is nothing */
export async function verify(host: Host, options: BackupVerifyOptions): Promise<number> {
  host.endAtSignal()
  return withDumps(host, options, async ({ store, listing }) => {
    const programs = programsFor(host)
    await mustHavePgRestore(programs)
    const dumps = options.name === undefined ? listing.dumps : [chosenDump(listing, options.name)]
    const verified: Verified[] = []
    for (const dump of dumps) {
      const check = async ({ manifest }: ListedDump) => {
        if (manifest !== undefined)
          await checkDump(store, programs, manifest.object, manifest, { deep: options.deep, signal: host.stop })
      }
      verified.push({
        name: dump.manifest?.name ?? dump.manifestObject,
        object: dump.manifest?.object ?? dump.manifestObject,
        sizeBytes: dump.manifest?.sizeBytes,
        problem: dump.problem ?? (await check(dump).then(() => undefined, problemOf)),
      })
    }
    const wrong = verified.filter(({ problem }) => problem !== undefined)
    const output = new Output(host)
    if (options.json === true)
      output.json({ location: store.location, deep: options.deep, verified, found: wrong.length })
    else {
      for (const { object, sizeBytes, problem } of verified)
        output.line(
          `${problem === undefined ? 'good' : output.paint('wrong', 'red')}  ${object}  ${problem ?? sizeOf(sizeBytes ?? 0)}`,
        )
      output.line(
        verified.length === 0
          ? `there are no dumps in ${store.location}: nothing could be restored from it`
          : `${verified.length} dumps ${options.deep ? 'read and unpacked' : 'read'}: ${wrong.length === 0 ? 'all as they should be' : `${wrong.length} wrong`}`,
      )
    }
    // No backup at all is the worst that can be found: a wrong URL or prefix must not pass for a good one, either.
    return verified.length > 0 && wrong.length === 0 ? exitCodes.ok.code : exitCodes.findings.code
  })
}

/** What is wrong with a dump. Whatever else keeps from reading it is none of that. */
function problemOf(error: unknown): string {
  if (['dump-unfit', 'program-failed', 'store-not-found', 'store-checksum'].includes(codeOf(error) ?? ''))
    return messageOf(error)
  throw error
}
