/** What has to be remembered of requests that were taken but not yet carried out: text, kept by core with the message. */
import type { JsonObject } from './text-limits.js'

interface Taken {
  readonly ids: readonly string[]
  readonly takenAtMs: number
}

export type Receipt =
  | (Taken & { readonly what: 'close' | 'change' })
  /** `create`: to be created again with this body should the request get lost. `reopen`: closed first, to be created when that is done. */
  | (Taken & { readonly what: 'create' | 'reopen'; readonly create: JsonObject })

export function receiptOf(receipt: Receipt): string {
  return JSON.stringify(receipt)
}

/** Undefined for text that {@link receiptOf} did not make. */
export function parseReceipt(text: string): Receipt | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (value === null || typeof value !== 'object') return undefined
  const { what, ids, takenAtMs, create } = value as Record<string, unknown>
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'string') || typeof takenAtMs !== 'number')
    return undefined
  if (what === 'close' || what === 'change') return { what, ids, takenAtMs }
  if ((what !== 'create' && what !== 'reopen') || create === null || typeof create !== 'object') return undefined
  return { what, ids, takenAtMs, create: create as JsonObject }
}
