/**
 * How large a B-tree would be if it were built now, from what ANALYZE knows of its columns. Pure arithmetic on the page layout that PostgreSQL documents
 * (https://www.postgresql.org/docs/17/storage-page-layout.html, https://www.postgresql.org/docs/17/btree.html) and that
 * `nbtsort.c` fills: leaf pages up to the fill factor, the pages above them to 70 %, equal keys merged into posting lists.
 *
 * It comes with its own error. Widths are averages, so the padding of variable-width keys is not known; and how often combinations of several
 * columns repeat is not known either, only how often each of them does.
 */

export interface BtreeColumn {
  /** Bytes of a value; negative for variable-width types, as `attlen`. */
  readonly length: number
  /** Alignment in bytes: 1, 2, 4 or 8. */
  readonly alignment: number
  /** False for INCLUDE columns. */
  readonly key: boolean
  /** Average bytes of a value; undefined without statistics. */
  readonly averageWidth: number | undefined
  readonly nullFraction: number | undefined
  /** `n_distinct` of pg_stats: a number of values, or, negative, their share of the rows. */
  readonly distinct: number | undefined
  /** Equal means identical for its operator class and collation: a precondition of posting lists. */
  readonly equalImage: boolean
}

export interface BtreeShape {
  readonly tuples: number
  readonly columns: readonly BtreeColumn[]
  readonly fillFactor: number
  readonly deduplicates: boolean
  readonly unique: boolean
}

export interface SizeEstimate {
  readonly bytes: number
  /** The error: the size lies between them, as far as statistics tell the truth. */
  readonly lowBytes: number
  readonly highBytes: number
}

const pageBytes = 8192
const pageHeaderBytes = 24
/** BTPageOpaqueData. */
const specialBytes = 16
const itemIdBytes = 4
const tupleHeaderBytes = 8
/** Header and bitmap of a tuple with NULLs, aligned. */
const tupleHeaderWithNullsBytes = 16
const tidBytes = 6
const nonLeafFillFactor = 70
/** A build merges equal keys into posting lists of a tenth of a page. */
const postingListBytes = alignDown(pageBytes / 10) - itemIdBytes
/** What padding to 8 bytes adds to a key of any width, on average, at least, and at most. */
const padding = { average: 3.5, low: 0, high: 7 }
/** Statistics come from a sample: what even a perfect model is off by, as a share. */
const samplingError = 0.05

/** @returns undefined where there are no statistics, or no tuples were counted */
export function estimateBtreeBytes(shape: BtreeShape): SizeEstimate | undefined {
  const { columns } = shape
  if (!(shape.tuples >= 0) || columns.some(({ length, averageWidth }) => length < 0 && averageWidth === undefined))
    return undefined
  const distinct = distinctKeys(shape)
  const low = sizeOf(shape, padding.low, distinct.low) * (1 - samplingError)
  const high = sizeOf(shape, padding.high, distinct.high) * (1 + samplingError)
  const bytes = sizeOf(shape, padding.average, distinct.likely)
  return { bytes, lowBytes: Math.min(low, bytes), highBytes: Math.max(high, bytes) }
}

function sizeOf(shape: BtreeShape, paddingBytes: number, distinct: number): number {
  const all = tupleBytes(shape.columns, paddingBytes)
  const leaves = leafPages(shape, all, distinct)
  const pivot = tupleBytes(
    shape.columns.filter(({ key }) => key),
    paddingBytes,
  )
  const perPage = itemsPerPage(pivot, nonLeafFillFactor)
  let pages = leaves
  for (let level = leaves; level > 1; pages += level) level = Math.ceil(level / perPage)
  const metaPages = 1
  return (pages + metaPages) * pageBytes
}

function leafPages(shape: BtreeShape, bytes: number, distinct: number): number {
  const { tuples, columns } = shape
  const [only] = columns
  const { nullFraction = 0 } = only ?? {}
  if (columns.length > 1 || only === undefined || nullFraction === 0)
    return pagesFor(shape, { tuples, bytes, distinct })
  // NULLs are one key, and the others share the rest: as one average key they would look like neither.
  const nulls = tuples * nullFraction
  const ofNulls = pagesFor(shape, { tuples: nulls, bytes: tupleHeaderWithNullsBytes, distinct: 1 })
  const bytesOfOthers = (bytes - tupleHeaderWithNullsBytes * nullFraction) / Math.max(1 - nullFraction, Number.EPSILON)
  const others = { tuples: tuples - nulls, bytes: bytesOfOthers, distinct: Math.max(1, distinct - 1) }
  return ofNulls + pagesFor(shape, others)
}

function pagesFor(
  { fillFactor, deduplicates, columns }: BtreeShape,
  { tuples, bytes, distinct }: { readonly tuples: number; readonly bytes: number; readonly distinct: number },
): number {
  if (tuples < 1) return 0
  const perKey = tuples / Math.max(1, Math.min(distinct, tuples))
  const mergeable = deduplicates && columns.every(({ key, equalImage }) => key && equalImage)
  if (!mergeable || perKey < 1.01) return Math.ceil(tuples / itemsPerPage(bytes, fillFactor))
  const perList = Math.max(1, Math.floor((postingListBytes - bytes) / tidBytes))
  const lists = Math.max(1, Math.ceil(perKey / perList))
  const extraBytes = perKey / lists > 1 ? (perKey / lists) * tidBytes : 0
  const list = alignUp(bytes + extraBytes)
  return Math.max(1, Math.ceil((Math.min(distinct, tuples) * lists) / itemsPerPage(list, fillFactor, extraBytes)))
}

/**
 * A page is full when less than its reserve is free after an item; the last item then moves on, and its high key stays in its place. What a posting
 * list has beyond a plain tuple does not count against the reserve.
 */
function itemsPerPage(bytes: number, fillFactor: number, extraBytes = 0): number {
  const free = pageBytes - pageHeaderBytes - specialBytes - itemIdBytes
  const reserve = Math.max(0, Math.floor((pageBytes * (100 - fillFactor)) / 100) - extraBytes)
  return Math.max(1, Math.ceil((free - reserve) / (bytes + itemIdBytes)) - 1)
}

/** The average over which columns are NULL, as if they were so independently of each other. */
function tupleBytes(columns: readonly BtreeColumn[], paddingBytes: number): number {
  const nullable = columns.map(({ nullFraction = 0 }) => nullFraction > 0)
  // 2^n cases; with more columns than that the average width has to do.
  if (nullable.filter(Boolean).length > 8)
    return caseBytes(
      columns,
      paddingBytes,
      columns.map(() => false),
    )
  const walk = (index: number, nulls: readonly boolean[], probability: number): number => {
    const column = columns[index]
    if (column === undefined) return probability * caseBytes(columns, paddingBytes, nulls)
    const { nullFraction = 0 } = column
    const present = nullFraction < 1 ? walk(index + 1, [...nulls, false], probability * (1 - nullFraction)) : 0
    return nullFraction > 0 ? present + walk(index + 1, [...nulls, true], probability * nullFraction) : present
  }
  return walk(0, [], 1)
}

function caseBytes(columns: readonly BtreeColumn[], paddingBytes: number, nulls: readonly boolean[]): number {
  let data = 0
  let variable = false
  for (const [index, { length, alignment, averageWidth = length }] of columns.entries()) {
    if (nulls[index] === true) continue
    // A short value of a variable-width type has a header of one byte, and no alignment.
    const unaligned = length < 0 && averageWidth <= 126
    variable ||= length < 0
    data = (unaligned ? data : Math.ceil(data / alignment) * alignment) + (length < 0 ? averageWidth : length)
  }
  const header = nulls.includes(true) ? tupleHeaderWithNullsBytes : tupleHeaderBytes
  return variable ? header + data + paddingBytes : alignUp(header + data)
}

interface DistinctKeys {
  readonly low: number
  readonly likely: number
  readonly high: number
}

/** One column: known. Several: no fewer than the most varied of them has, and no more than all combinations. */
function distinctKeys({ tuples, columns, unique }: BtreeShape): DistinctKeys {
  if (unique) return { low: tuples, likely: tuples, high: tuples }
  const each = columns.map(({ distinct, nullFraction = 0 }) => {
    if (distinct === undefined || distinct === 0) return undefined
    // NULLs are one more key, to a B-tree.
    return Math.min(tuples, (distinct < 0 ? -distinct * tuples : distinct) + (nullFraction > 0 ? 1 : 0))
  })
  const known = each.filter((count) => count !== undefined)
  const most = Math.max(1, ...known)
  if (known.length < each.length) return { low: most, likely: tuples, high: tuples }
  const combinations = Math.min(
    tuples,
    known.reduce((product, count) => product * count, 1),
  )
  // n_distinct of a sample errs to the low side, more so the rarer the values.
  if (known.length === 1) return { low: most * 0.9, likely: most, high: Math.min(tuples, most * 1.5) }
  return { low: most, likely: expectedDistinct(tuples, combinations), high: combinations }
}

/** How many of so many equally likely keys so many draws are expected to hit. */
function expectedDistinct(draws: number, keys: number): number {
  return Math.min(draws, keys * (1 - Math.exp(-draws / keys)))
}

function alignUp(bytes: number): number {
  return Math.ceil(bytes / 8) * 8
}

function alignDown(bytes: number): number {
  return Math.floor(bytes / 8) * 8
}
