/** `archive list`: what is in cold storage, by relation and month, or object by object. */
import { fileURLToPath } from 'node:url'
import {
  listManifests,
  selectArchivedObjects,
  selectHolds,
  selectListing,
  type Hold,
  type ListedMonth,
  type ListedObject,
  type ListingFilter,
} from '@battlescope/archive'
import { exitCodes, formatSize } from '@battlescope/scheduler-core'
import type { Host } from '../../host.js'
import { Output } from '../../output.js'
import { withArchive, type ArchiveCommandOptions, type OpenArchive } from './open-archive.js'
import type { Selection } from './selection.js'

export interface ListOptions extends ArchiveCommandOptions {
  readonly selection: Selection
  /** One line per object whose rows are in the archive alone, as DuckDB reads it. */
  readonly objects?: boolean
  readonly manifestsOnly?: boolean
}

/** Objects that are read from the catalog at once. */
const pageObjects = 1000

export function list(host: Host, options: ListOptions): Promise<number> {
  host.endAtSignal()
  return withArchive(host, options, options, async (archive) => {
    const output = new Output(host)
    const { relations, ...months } = options.selection
    const filter: ListingFilter = {
      ...months,
      ...(relations === undefined ? {} : { relations: relations.map(({ key }) => key) }),
    }
    if (options.objects === true) await printObjects(archive, filter, output, options.json === true)
    else await printMonths(archive, filter, output, options.json === true)
    return exitCodes.ok.code
  })
}

async function printMonths({ store, catalog }: OpenArchive, filter: ListingFilter, output: Output, json: boolean) {
  const months =
    catalog === undefined ? (await listManifests(store, filter)).months : await selectListing(catalog.db, filter)
  const holds = catalog === undefined ? [] : await selectHolds(catalog.db)
  if (json) {
    output.json({ location: store.location, source: catalog === undefined ? 'manifests' : 'catalog', months, holds })
    return
  }
  if (catalog === undefined) output.note('the catalog knows of no archive: this is what the manifests in the store say')
  if (months.length === 0) {
    output.line('nothing is archived')
    return
  }
  output.table(
    ['relation', 'month', 'state', 'batches', 'objects', 'rows', 'size', 'first', 'last', 'held until'],
    months.map((month) => [
      month.relation,
      month.month,
      month.state === 'archived' ? month.state : output.paint(month.state, 'yellow'),
      String(month.batches),
      String(month.objects),
      String(month.rows),
      sizeOf(month.bytes),
      month.firstAt?.toISOString() ?? '–',
      month.lastAt?.toISOString() ?? '–',
      heldUntil(month, holds)?.toISOString() ?? '–',
    ]),
  )
}

/** Of the holds that cover a part of the month the one that ends last. */
function heldUntil({ policy, firstAt, lastAt }: ListedMonth, holds: readonly Hold[]): Date | undefined {
  const ends = holds
    .filter((hold) => hold.policy === policy && firstAt !== undefined && lastAt !== undefined)
    .filter(({ fromAt, toAt }) => fromAt <= (lastAt ?? fromAt) && toAt > (firstAt ?? toAt))
    .map(({ until }) => until.getTime())
  return ends.length === 0 ? undefined : new Date(Math.max(...ends))
}

/** Three digits are enough to see what is large. */
export function sizeOf(bytes: number): string {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10) - 1)
  return formatSize(Math.round(bytes / unit) * unit)
}

async function printObjects({ store, catalog }: OpenArchive, filter: ListingFilter, output: Output, json: boolean) {
  const all: (ListedObject & { readonly url: string })[] = []
  const print = (object: ListedObject) => {
    const url = urlOf(store.location, object.name)
    if (json) all.push({ ...object, url })
    else output.line(url)
  }
  if (catalog === undefined) for (const object of (await listManifests(store, filter)).objects) print(object)
  else {
    let after: string | undefined
    do {
      const page = { limit: pageObjects, ...(after === undefined ? {} : { after }) }
      const objects: readonly ListedObject[] = await selectArchivedObjects(catalog.db, filter, page)
      for (const object of objects) print(object)
      after = objects.length < pageObjects ? undefined : objects.at(-1)?.name
    } while (after !== undefined)
  }
  if (json) output.json({ location: store.location, objects: all })
}

/** As readers of Parquet take it: a path where the store is a folder. */
function urlOf(location: string, name: string): string {
  return `${location.startsWith('file:') ? fileURLToPath(location) : location}/${name}`
}
