/** `archive verify`: reads what is in cold storage again, and holds it against catalog and manifests. */
import { verifyArchive, type ArchiveFinding, type VerifyCounts, type VerifyDepth } from '@battlescope/archive'
import { exitCodes } from '@battlescope/scheduler-core'
import type { Host } from '../../host.js'
import { createLogging } from '../../logging/logging.js'
import { Output } from '../../output.js'
import { sizeOf } from './list.js'
import { withArchive, type ArchiveCommandOptions } from './open-archive.js'
import type { Selection } from './selection.js'

export interface VerifyCommandOptions extends ArchiveCommandOptions {
  readonly selection: Selection
  readonly depth: VerifyDepth
  readonly manifestsOnly?: boolean
}

/** Findings that are printed: where everything is wrong, more say nothing new. All are counted. */
const mostPrinted = 1000

/** @returns 80 when anything is not as it should be */
export function verify(host: Host, options: VerifyCommandOptions): Promise<number> {
  host.endAtSignal()
  return withArchive(host, options, options, async ({ store, catalog, configuration }) => {
    const logging = createLogging({
      level: 'info',
      stream: 'stderr',
      terminal: host.terminal,
      scrub: (text) => host.secrets.scrub(text),
    })
    const findings: ArchiveFinding[] = []
    let found = 0
    const counts = await verifyArchive({
      store,
      catalog,
      depth: options.depth,
      ...options.selection,
      signal: host.stop,
      report: (each) => {
        found++
        if (findings.length < mostPrinted) findings.push(each)
      },
      progress: ({ month, objects }) => {
        logging.logger.debug(
          { task: 'verify', progress: { done: objects, unit: 'objects', current: month } },
          'progress',
        )
      },
    })
    logging.end()
    const lostCatalog = catalog === undefined && options.manifestsOnly !== true && counts.batches > 0
    const output = new Output(host)
    const report = { location: store.location, schema: configuration.program.schema, depth: options.depth, lostCatalog }
    if (options.json === true) output.json({ ...report, ...counts, findings, found })
    else print(output, options, counts, findings, found, lostCatalog)
    return found > 0 || lostCatalog ? exitCodes.findings.code : exitCodes.ok.code
  })
}

function print(
  output: Output,
  { depth, manifestsOnly }: VerifyCommandOptions,
  counts: VerifyCounts,
  findings: readonly ArchiveFinding[],
  found: number,
  lostCatalog: boolean,
): void {
  if (lostCatalog) {
    output.line(
      `${output.paint('error', 'red')} the catalog knows of no archive, and the store has one; its manifests alone were used. \`archive adopt\` builds the catalog again`,
    )
  }
  for (const { severity, kind, name, summary } of findings)
    output.line(`${output.paint(severity, severity === 'error' ? 'red' : 'yellow')} ${kind} ${name}: ${summary}`)
  if (found > findings.length) output.line(`… and ${found - findings.length} more`)
  const how = { quick: 'looked at', hash: 'read', deep: 'read and decoded' }[depth]
  const against = manifestsOnly === true || lostCatalog ? 'the manifests' : 'catalog and manifests'
  output.line(
    `${counts.objects} objects of ${counts.batches} batches (${counts.rows} rows, ${sizeOf(counts.bytes)}) ${how} and held against ${against}: ${found === 0 ? 'all as it should be' : `${found} findings`}`,
  )
}
