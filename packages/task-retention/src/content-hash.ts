/** The same hash over rows that `selectContent` computes in PostgreSQL. Pure. */
import { createHash } from 'node:crypto'
import { fieldSeparator, rowCountOf, type Guards } from './guards.js'
import type { ContentHash } from './partition-facts.js'

export const noContent: ContentHash = { high: 0n, low: 0n }

export function contentHashOf(guards: Guards): ContentHash {
  let { high, low } = noContent
  for (let row = 0; row < rowCountOf(guards); row++) {
    const digest = createHash('sha256')
      .update(guards.map((column) => column.textAt(row)).join(fieldSeparator))
      .digest()
    high += digest.readBigInt64BE(0)
    low += digest.readBigInt64BE(8)
  }
  return { high, low }
}

export function addContent(a: ContentHash, b: ContentHash): ContentHash {
  return { high: a.high + b.high, low: a.low + b.low }
}

export function isSameContent(a: ContentHash, b: ContentHash): boolean {
  return a.high === b.high && a.low === b.low
}
