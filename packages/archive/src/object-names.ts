/** What things are called in the store, relative to the configured prefix. Pure. */
import { createHash } from 'node:crypto'
import type { RelationName } from '@battlescope/database'

/** Whose prefix it is: see owner.ts. */
export const ownerName = 'owner.json'
/** Rows that left the database, or are about to. */
export const dataPrefix = 'data/'
export const manifestPrefix = 'manifests/'
/** Rows that left the database and are live again: kept, and out of the way of whoever queries `data/`. */
export const restoredPrefix = 'restored/'

export interface DataObject {
  readonly relation: RelationName
  /** `2020-11` */
  readonly month: string
  readonly slotAt: Date
  readonly batchId: string
  /** From 0. */
  readonly part: number
}

/**
 * `data/public.battles/month=2020-11/20261123T020000Z-1f0c9a77-0.parquet`: the slot and the attempt are in the name, so no attempt ever
 * writes over another's object.
 */
export function dataName({ relation, month, slotAt, batchId, part }: DataObject): string {
  const slot = slotAt.toISOString().replace(/\.\d+/, '').replace(/[-:]/g, '')
  return `${dataPrefix}${encodeRelation(relation)}/month=${month}/${slot}-${batchId.slice(0, 8)}-${part}.parquet`
}

export function manifestName(month: string, batchId: string): string {
  return `${manifestPrefix}month=${month}/${batchId}.json`
}

/** Where a data object goes when its rows are live again. @throws RangeError for what is no data object */
export function restoredName(name: string): string {
  if (!name.startsWith(dataPrefix)) throw new RangeError(`no object of ${dataPrefix}: ${name}`)
  return restoredPrefix + name.slice(dataPrefix.length)
}

/** Folders have names of 255 bytes at most, and two escaped names of 63 bytes can have more: then a hash stands for the rest. */
const longestFolderBytes = 240

function encodeRelation({ schema, name }: RelationName): string {
  const key = `${encodePart(schema)}.${encodePart(name)}`
  if (key.length <= longestFolderBytes) return key
  return `${key.slice(0, longestFolderBytes - 17)}=${createHash('sha256').update(key).digest('hex').slice(0, 16)}`
}

/** Bytes outside of `A-Za-z0-9_-` become `=XX`, so that every name is allowed in a store, and no two become one. */
function encodePart(part: string): string {
  return part.replace(/[^A-Za-z0-9_-]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  )
}
