/** `archive adopt`: shows whose the prefix is, and with --yes makes it this database's. */
import {
  decideOwnership,
  manifestPrefix,
  readOwner,
  selectBatches,
  selectIdentity,
  selectOwner,
} from '@battlescope/archive'
import { catalogIn } from '@battlescope/archive'
import { openStore } from '@battlescope/cold-storage'
import { exitCodes, StateStore } from '@battlescope/scheduler-core'
import { retention } from '@battlescope/task-retention'
import { loadConfiguration } from '../../configuration/load.js'
import { withDatabase } from '../../connect.js'
import type { Host } from '../../host.js'
import { Output } from '../../output.js'
import { askTask } from '../ask-task.js'
import { storeOf, type ArchiveCommandOptions } from './open-archive.js'
import { exitCodeOf, printFindings } from './restore.js'

export interface AdoptOptions extends ArchiveCommandOptions {
  readonly yes?: boolean
}

/** Newest batches that are shown of either side. */
const shownBatches = 3

export async function adopt(host: Host, options: AdoptOptions): Promise<number> {
  const configuration = await loadConfiguration(host, options.flags)
  storeOf(configuration)
  const { program } = configuration
  const output = new Output(host)
  return withDatabase(
    program,
    async ({ connections }) => {
      const state = new StateStore(connections, program.schema)
      const isMigrated = (await state.readState()).schemaVersion !== undefined
      const reader = connections.reader({ statementTimeoutMs: 30_000 })
      const sides = await readSides(configuration, reader, isMigrated ? program.schema : undefined)
      if (options.yes !== true) {
        if (options.json === true) output.json(sides)
        else printSides(output, sides)
        return sides.decision === 'foreign' || sides.batchesUnknownHere > 0
          ? exitCodes.findings.code
          : exitCodes.ok.code
      }
      if (options.json !== true) printSides(output, sides)
      const asked = await askTask(host, configuration, connections, {
        task: retention,
        request: { do: 'adopt' },
        dryRun: false,
      })
      const { run } = asked.task
      const batches = [...(asked.counts.get('adopted_batches')?.values() ?? [])].reduce((sum, count) => sum + count, 0)
      if (options.json === true) {
        output.json({ ...sides, adopted: { outcome: run?.outcome ?? 'not-run', batches, findings: asked.findings } })
      } else {
        output.line()
        output.line(
          run?.outcome === 'succeeded'
            ? `the prefix is this database's; ${batches} batches came into the catalog`
            : `${run?.outcome ?? 'not run'}: ${run?.reason ?? asked.task.reason}`,
        )
        printFindings(output, asked)
      }
      return exitCodeOf(asked)
    },
    { signal: host.stop },
  )
}

type Sides = Awaited<ReturnType<typeof readSides>>

async function readSides(
  configuration: Awaited<ReturnType<typeof loadConfiguration>>,
  reader: Parameters<typeof selectIdentity>[0],
  schema: string | undefined,
) {
  const store = await openStore(storeOf(configuration))
  try {
    const { location } = store
    const catalog = schema === undefined ? undefined : catalogIn(reader, schema)
    const identity = await selectIdentity(reader)
    const recorded = catalog === undefined ? undefined : await selectOwner(catalog)
    const stored = (await readOwner(store))?.owner
    const decision = decideOwnership({ stored, recorded, identity, location })
    const batches = catalog === undefined ? [] : await selectBatches(catalog)
    const known = new Set(batches.map(({ id }) => id))
    const manifests: { readonly id: string; readonly name: string; readonly at: Date }[] = []
    for await (const { name, modifiedAt } of store.list(manifestPrefix)) {
      const id = /([0-9a-f-]{36})\.json$/.exec(name)?.[1]
      if (id !== undefined) manifests.push({ id, name, at: modifiedAt })
    }
    const newest = [...batches].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime()).slice(0, shownBatches)
    return {
      location,
      decision: decision.kind,
      reason: decision.kind === 'foreign' ? decision.reason : undefined,
      store: {
        owner: stored,
        batches: manifests.length,
        newest: manifests
          .sort((a, b) => b.at.getTime() - a.at.getTime())
          .slice(0, shownBatches)
          .map(({ name, at }) => ({ name, at })),
      },
      database: {
        identity,
        owner: recorded,
        batches: batches.filter(({ state }) => state === 'deleted').length,
        newest: newest.map(({ id, relation, month, createdAt }) => ({ id, relation, month, at: createdAt })),
      },
      batchesUnknownHere: manifests.filter(({ id }) => !known.has(id)).length,
    }
  } finally {
    await store.close()
  }
}

function printSides(output: Output, { location, decision, reason, store, database, batchesUnknownHere }: Sides): void {
  const { identity, owner } = database
  output.table(
    ['', `the store, ${location}`, 'this database'],
    [
      ['owner', store.owner?.ownerId ?? 'nobody', owner?.ownerId ?? 'never archived'],
      ['generation', String(store.owner?.generation ?? '–'), String(owner?.generation ?? '–')],
      ['database', store.owner?.database ?? '–', identity.database],
      ['cluster name', store.owner?.host ?? '–', identity.host],
      ['system identifier', store.owner?.systemIdentifier ?? '–', identity.systemIdentifier],
      ['batches', String(store.batches), String(database.batches)],
      ...Array.from({ length: Math.max(store.newest.length, database.newest.length) }, (_, index) => {
        const [stored, own] = [store.newest[index], database.newest[index]]
        return [
          index === 0 ? 'newest' : '',
          stored === undefined ? '' : `${stored.at.toISOString()} ${stored.name}`,
          own === undefined ? '' : `${own.at.toISOString()} ${own.relation} ${own.month}`,
        ]
      }),
    ],
  )
  output.line()
  output.line(decision === 'foreign' ? `not ours: ${reason ?? ''}` : 'the prefix is this database’s, or nobody’s')
  if (batchesUnknownHere > 0) output.line(`${batchesUnknownHere} batches in the store are unknown to this database`)
  if (decision === 'foreign' || batchesUnknownHere > 0) {
    output.line(
      'with --yes this database becomes the owner and learns of those batches; whichever database owned the prefix until now archives nothing more',
    )
  }
}
