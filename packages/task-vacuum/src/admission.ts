/** Whether a VACUUM is begun now: how long it will take, and whether that much is left. Pure. */
import { formatDuration } from '@battlescope/scheduler-core'
import type { VacuumConfig } from './config.js'
import type { Candidate, Heap, Sizes } from './queries.js'
import type { Settings } from './situation-queries.js'
import { toastOf } from './thresholds.js'

/** Connecting, settings, and two reads of its condition. */
const overheadMs = 100
/** What is read faster than the overhead takes says little about the rate. */
const leastMeasuredBytes = 4 * 1024 * 1024
/** ANALYZE samples 300 pages for each unit of the default default_statistics_target of 100. */
const sampledPages = 30_000
/** A dead row's address, as VACUUM collects them until maintenance_work_mem is full (up to 16; later versions need less). */
const addressBytes = 6
/** The runs in which something may not fit beside what others used up before it counts as never fitting. */
const mostDeferrals = 3

/** Bytes that VACUUM will probably read: estimated the same way for the prediction and for the measured rate, so that its errors cancel out. */
export function scanBytesOf(
  candidate: Candidate,
  sizes: Sizes,
  settings: Settings,
  how: { readonly everyPage: boolean; readonly analyze: boolean },
): number {
  const { blockBytes } = settings
  const main = heapScanBytes(candidate, sizes.heapBytes, sizes.indexBytes, settings, how.everyPage)
  const toast = toastOf(candidate)
  const toastBytes =
    toast === undefined ? 0 : heapScanBytes(toast, sizes.toastHeapBytes, sizes.toastIndexBytes, settings, how.everyPage)
  const sampleBytes = how.analyze ? Math.min(sizes.heapBytes, sampledPages * blockBytes) : 0
  return main + toastBytes + sampleBytes
}

function heapScanBytes(
  { rows = 0, pages: knownPages, allVisiblePages, deadRows, insertedRows }: Heap,
  heapBytes: number,
  indexBytes: number,
  { blockBytes, maintenanceWorkMemBytes }: Settings,
  everyPage: boolean,
): number {
  const pages = Math.ceil(heapBytes / blockBytes)
  const visible = Math.min(allVisiblePages, knownPages, pages)
  // The catalog's count is as old as the last VACUUM: each row that died since may have touched a page that was visible then, and inserted ones
  // may have been put into free room.
  const filled = rows > 0 ? Math.ceil((insertedRows * knownPages) / rows) : 0
  const scanned = everyPage ? pages : Math.min(pages, pages - visible + deadRows + filled)
  // Pages with dead rows are visited again after the indexes.
  const again = Math.min(pages, deadRows)
  const indexPasses = Math.ceil((deadRows * addressBytes) / maintenanceWorkMemBytes)
  return (scanned + again) * blockBytes + indexPasses * indexBytes
}

/** What is known of a relation from earlier runs. */
export interface Memory {
  readonly bytesPerMs?: number | undefined
  /** That rate is of a VACUUM that was cut off: slower than this one's limit, by how much nobody knows. Says nothing of others. */
  readonly cutOff?: boolean | undefined
  /** Runs in a row in which it did not fit. */
  readonly deferrals?: number | undefined
  /** The oldest transaction that held back the removal of dead rows at its last VACUUM. */
  readonly horizon?: string | undefined
}

export interface Prediction {
  readonly durationMs: number
  readonly scanBytes: number
  readonly bytesPerMs: number
  /** Where the rate is from. */
  readonly basis: string
}

export function predict(
  scanBytes: number,
  memory: Memory | undefined,
  others: readonly Memory[],
  config: VacuumConfig,
): Prediction {
  const rates = others.filter(({ cutOff }) => cutOff !== true).flatMap(({ bytesPerMs }) => bytesPerMs ?? [])
  const [bytesPerMs, basis] =
    memory?.bytesPerMs !== undefined
      ? [
          memory.bytesPerMs,
          memory.cutOff === true
            ? 'at half the rate at which it was cut off last time'
            : 'at the rate measured last time',
        ]
      : rates.length > 0
        ? [Math.min(...rates), 'at the slowest rate measured of other relations']
        : [config.assumedRate / 1000, 'at the assumed rate: none was measured yet']
  return { durationMs: Math.round(overheadMs + scanBytes / bytesPerMs), scanBytes, bytesPerMs, basis }
}

/** The rate that a VACUUM showed. Undefined when it was too short to tell. */
export function measuredRate(scanBytes: number, durationMs: number): number | undefined {
  if (scanBytes < leastMeasuredBytes) return undefined
  return scanBytes / Math.max(1, durationMs - overheadMs)
}

/** After one that was cut off at a limit: it was slower than predicted, nobody knows by how much. */
export function slowerRate({ scanBytes, bytesPerMs }: Prediction, limitMs: number): number {
  return Math.min(bytesPerMs, Math.max(1, scanBytes) / Math.max(1, limitMs)) / 2
}

export type Admission =
  | { readonly kind: 'now' }
  | { readonly kind: 'later'; readonly reason: string }
  | { readonly kind: 'never'; readonly reason: string }

export function admit(
  { durationMs, basis }: Prediction,
  remainingMs: number,
  deferrals: number,
  config: Pick<VacuumConfig, 'relationTimeout'>,
): Admission {
  const predicted = `it would take ${inSeconds(durationMs)} ${basis}`
  if (durationMs > config.relationTimeout) {
    return { kind: 'never', reason: `${predicted}, and may take ${formatDuration(config.relationTimeout)}` }
  }
  if (durationMs <= remainingMs) return { kind: 'now' }
  const reason = `${predicted}, and ${inSeconds(remainingMs)} of the budget were left`
  return deferrals >= mostDeferrals
    ? { kind: 'never', reason: `${reason}, as in ${deferrals} runs before` }
    : { kind: 'later', reason }
}

function inSeconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`
}
