import { createHash } from 'node:crypto'

/**
 * Tells one account or address of a provider from another, and nothing of what it is made of. Keys are random and long: their hash is no
 * way back to them, cut short even less.
 */
export function targetOf(...parts: readonly (string | undefined)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)
}
