import { describe, expect, it } from 'vitest'
import { estimateBtreeBytes, type BtreeColumn } from '../src/btree-estimate.js'
import { reindexConfig } from '../src/config.js'
import type { IndexFacts, LearnedIndex, PreflightFacts, Rebuild } from '../src/facts.js'
import { learn } from '../src/learn.js'
import { admit, contradicts, formatBytes, planReindex, predictMs, restsUntil, type Candidate } from '../src/plan.js'
import { objection } from '../src/preflight.js'
import { reindex } from '../src/task.js'

const mebibyte = 1024 * 1024
const day = 86_400_000
const now = new Date('2026-11-22T05:00:00Z')
const config = reindexConfig.parse({})

const int8: BtreeColumn = {
  length: 8,
  alignment: 8,
  key: true,
  averageWidth: 8,
  nullFraction: 0,
  distinct: -1,
  equalImage: true,
}

function index(more: Partial<IndexFacts> = {}): IndexFacts {
  return {
    oid: 100,
    tableOid: 10,
    schema: 'public',
    table: 't',
    name: 't_idx',
    accessMethod: 'btree',
    definition: 'ON public.t USING btree (id)',
    sizeBytes: 1000 * mebibyte,
    tuples: 10_000_000,
    tableBytes: 2000 * mebibyte,
    tableRows: 10_000_000,
    changedRows: 0,
    valid: true,
    unique: false,
    constrained: false,
    exclusion: false,
    deferrable: false,
    nullsNotDistinct: false,
    ofPartition: false,
    predicate: undefined,
    fillFactor: 90,
    deduplicates: true,
    columns: [{ ...int8, identity: 'id', attribute: 1 }],
    scans: 1,
    owned: true,
    atWork: false,
    ...more,
  }
}

function learned(of: IndexFacts, bestBytesPerTuple: number | undefined = 21): LearnedIndex {
  const { oid, definition, schema, table, name } = of
  return {
    oid,
    definition,
    relation: `${schema}.${table}`,
    indexName: `${schema}.${name}`,
    bestBytesPerTuple,
    firstSeenAt: new Date(0),
  }
}

function rebuilt(more: Partial<Rebuild> = {}): Rebuild {
  return {
    id: 'r',
    relation: 'public.t',
    indexName: 'public.t_idx',
    definition: '',
    tableOid: 10,
    indexOid: 90,
    newIndexOid: 100,
    invalidBefore: [],
    sessionName: '',
    sizeBeforeBytes: 0,
    workBytes: 5000 * mebibyte,
    predictedMs: 0,
    startedAt: new Date(now.getTime() - 8 * day),
    leftoverOid: undefined,
    endedAt: new Date(now.getTime() - 8 * day),
    outcome: 'rebuilt',
    errorCode: undefined,
    durationMs: 10_000,
    ...more,
  }
}

const plan = (indexes: readonly IndexFacts[], more: Partial<Parameters<typeof planReindex>[0]> = {}) =>
  planReindex({ indexes, learned: indexes.map((each) => learned(each)), rebuilds: [], config, now, ...more })
const names = (candidates: readonly Candidate[]) => candidates.map((candidate) => candidate.index.name)

describe('estimateBtreeBytes', () => {
  const shape = { tuples: 366_000, columns: [int8], fillFactor: 90, deduplicates: true, unique: true }

  it('fills pages as a build does: 366 bigints in a leaf', () => {
    // 1000 leaves, 4 pages above them, the root, the meta page.
    expect(estimateBtreeBytes(shape)?.bytes).toBe((1000 + 4 + 1 + 1) * 8192)
  })

  it('knows nothing without the width of a variable column', () => {
    expect(
      estimateBtreeBytes({ ...shape, columns: [{ ...int8, length: -1, averageWidth: undefined }] }),
    ).toBeUndefined()
  })

  it('merges equal keys, where the type, the options and INCLUDE allow it', () => {
    const bytes = (more: object, column: object = {}) =>
      estimateBtreeBytes({ ...shape, unique: false, columns: [{ ...int8, distinct: 1000, ...column }], ...more })
        ?.bytes ?? 0
    const merged = bytes({})
    expect(merged).toBeLessThan(bytes({ deduplicates: false }) / 2)
    expect(bytes({}, { equalImage: false })).toBe(bytes({ deduplicates: false }))
  })

  it('is less sure of widths that vary, and of columns together', () => {
    const errorOf = (columns: readonly BtreeColumn[]) => {
      const { bytes = 1, lowBytes = 0, highBytes = 0 } = estimateBtreeBytes({ ...shape, unique: false, columns }) ?? {}
      expect(lowBytes).toBeLessThanOrEqual(bytes)
      expect(highBytes).toBeGreaterThanOrEqual(bytes)
      return (highBytes - lowBytes) / bytes
    }
    const few = { ...int8, distinct: 100 }
    expect(errorOf([{ ...int8, length: -1, averageWidth: 12 }])).toBeGreaterThan(errorOf([int8]))
    expect(errorOf([few, { ...few, distinct: 5000 }])).toBeGreaterThan(errorOf([few]))
  })
})

describe('planReindex', () => {
  it('takes what grew to twice its best size and wastes enough, the most wasteful first', () => {
    const small = index({ oid: 1, name: 'small', sizeBytes: 100 * mebibyte, tuples: 1_000_000 })
    const large = index({ oid: 2, name: 'large' })
    const fine = index({ oid: 3, name: 'fine', sizeBytes: 300 * mebibyte })
    const tiny = index({ oid: 4, name: 'tiny', sizeBytes: 60 * mebibyte, tuples: 100_000 })
    expect(names(plan([small, large, fine, tiny]).candidates)).toEqual(['large', 'small'])
  })

  it('does not judge what it has not seen before, but says what the estimate finds', () => {
    const unseen = plan([index()], { learned: [] })
    expect(unseen.candidates).toEqual([])
    expect(unseen.suspects).toHaveLength(1)
    const told = plan([index()], { learned: [], config: { ...config, when: 'grown-or-estimated' } })
    expect(names(told.candidates)).toEqual(['t_idx'])
  })

  it('does not take another index that got the number of one that was learned', () => {
    expect(
      plan([index()], { learned: [{ ...learned(index()), definition: 'ON public.t USING btree (other)' }] }).candidates,
    ).toEqual([])
  })

  it.each<[string, Partial<IndexFacts>]>([
    ['exclusion constraint', { exclusion: true }],
    ['deferrable constraint', { deferrable: true }],
    ['invalid index', { valid: false }],
    ['hash index', { accessMethod: 'hash' }],
    ['BRIN index', { accessMethod: 'brin' }],
    ['index whose tuples nobody counted', { tuples: undefined }],
    ['index whose table changed since', { changedRows: 3_000_000 }],
  ])('leaves alone an %s', (_what, more) => {
    expect(plan([index(more)]).candidates).toEqual([])
  })

  it('leaves out indexes by name, and what is not ours', () => {
    expect(plan([index()], { config: { ...config, excludeIndexes: ['public.t_*'] } }).candidates).toEqual([])
    const foreign = plan([index({ owned: false })])
    expect([foreign.candidates, names(foreign.notOwned)]).toEqual([[], ['t_idx']])
  })

  it('judges a table that was emptied by the floor', () => {
    expect(names(plan([index({ tuples: 0, tableRows: 0 })]).candidates)).toEqual(['t_idx'])
  })

  it('looks daily, and takes each index about weekly', () => {
    expect(reindex.schedule).toEqual({ kind: 'cron', expression: '0 5 * * *', windowMs: 7_200_000 })
    const daysAgo = (days: number) => rebuilt({ endedAt: new Date(now.getTime() - days * day) })
    expect(names(plan([index()], { rebuilds: [daysAgo(5)] }).candidates)).toEqual([])
    expect(names(plan([index()], { rebuilds: [daysAgo(6)] }).candidates)).toEqual(['t_idx'])
  })

  it('lets an index rest after a rebuild, and longer after each one that did not end', () => {
    const endedAt = new Date(now.getTime() - 2 * day)
    expect(names(plan([index()], { rebuilds: [rebuilt({ endedAt })] }).resting)).toEqual(['t_idx'])
    expect(names(plan([index()], { rebuilds: [rebuilt()] }).candidates)).toEqual(['t_idx'])
    const cutOff = rebuilt({ outcome: 'interrupted', endedAt })
    const pauses = [1, 2, 3, 4, 9].map(
      (times) =>
        (restsUntil(
          index(),
          Array.from({ length: times }, () => cutOff),
          config,
        ) -
          endedAt.getTime()) /
        day,
    )
    expect(pauses).toEqual([1, 2, 4, 6, 6])
  })
})

describe('predictMs', () => {
  const work = index()

  it('is careful as long as it has seen nothing, and learns the slowest rate', () => {
    const first = predictMs(work, [], config)
    expect(first).toBe(1000 + Math.round((1.5 * 5000 * 1000) / 16))
    const other = rebuilt({ indexName: 'public.other' })
    expect(predictMs(work, [other], config)).toBe(1000 + 15_000)
    expect(predictMs(work, [other, rebuilt({ indexName: 'public.slow', durationMs: 20_000 })], config)).toBe(
      1000 + 30_000,
    )
    // What it took for this very index counts more.
    expect(predictMs(work, [other, rebuilt({ durationMs: 40_000 })], config)).toBe(1000 + 60_000)
  })

  it('does not take a rebuild that hardly worked for a rate', () => {
    expect(predictMs(work, [rebuilt({ durationMs: 100, workBytes: 100 * mebibyte })], config)).toBe(
      predictMs(work, [], config),
    )
  })

  it('is widened by each rebuild that did not end, and by how long that one was given', () => {
    const done = rebuilt({ indexName: 'public.other' })
    const cutOff = rebuilt({ outcome: 'interrupted', durationMs: undefined })
    expect(predictMs(work, [cutOff, done], config)).toBe(2 * 16_000)
    expect(predictMs(work, [cutOff, cutOff, done], config)).toBe(4 * 16_000)
    expect(predictMs(work, [{ ...cutOff, durationMs: 100_000 }, done], config)).toBe(200_000)
    // It was cancelled for others, and not because it took too long.
    expect(predictMs(work, [{ ...cutOff, durationMs: 100_000, errorCode: 'gave-way' }, done], config)).toBe(16_000)
  })
})

describe('admit', () => {
  it.each([
    ['fits what is left', 20_000, 25_000, 'now'],
    ['does not fit what others left, and fits a run', 20_000, 5000, 'no-time-now'],
    ['fits no run', 35_000, 5000, 'too-large'],
    ['fits no run, and nothing is used up yet', 60_000, 38_400, 'too-large'],
    ['would be refused by nearly every run, and fits this one', 36_000, 38_000, 'now'],
  ])('%s', (_what, predictedMs, remainingMs, verdict) => {
    expect(admit(predictedMs, { remainingMs, totalMs: 38_400 })).toBe(verdict)
  })
})

describe('contradicts', () => {
  const candidate: Candidate = { index: index(), reason: '', wasteBytes: 500 * mebibyte, expectedBytes: 500 * mebibyte }
  it.each([
    [{ leafPages: 1000, otherPages: 0, leafDensity: 90 }, 'pgstattuple finds 0B to win, not 500 MiB'],
    [{ leafPages: 1000, otherPages: 0, leafDensity: 45 }, undefined],
    [{ leafPages: 300, otherPages: 700, leafDensity: 90 }, undefined],
    [{ leafPages: 0, otherPages: 0, leafDensity: 0 }, undefined],
  ])('%j', (measured, says) => {
    expect(contradicts(measured, candidate)).toBe(says)
  })
})

describe('objection', () => {
  const nothing: PreflightFacts = { transactions: [], otherBuilds: 0, replicas: [], tableLocks: [] }
  const candidate: Candidate = { index: index(), reason: '', wasteBytes: 0, expectedBytes: 0 }
  const transaction = { pid: 7, ageMs: 31_000, state: 'idle in transaction', application: 'psql', user: 'ann' }

  it.each<[Partial<PreflightFacts>, string | undefined]>([
    [{}, undefined],
    [{ transactions: [{ ...transaction, ageMs: 29_000 }] }, undefined],
    // What we may not see is left to the lock timeout.
    [{ transactions: [{ ...transaction, ageMs: undefined }] }, undefined],
    [{ transactions: [transaction] }, 'began 31s ago: session 7 of ann'],
    [{ otherBuilds: 1 }, 'building an index'],
    [{ replicas: [{ name: 'b', lagMs: 1000 }] }, undefined],
    [{ replicas: [{ name: 'b', lagMs: 60_000 }] }, 'replica b is 1m behind'],
    [{ replicas: [{ name: 'b', lagMs: undefined }] }, 'GRANT pg_monitor'],
    [{ tableLocks: [{ pid: 7, mode: 'ShareUpdateExclusiveLock' }] }, 'session 7 holds ShareUpdateExclusiveLock'],
    [{ tableLocks: [{ pid: undefined, mode: 'RowExclusiveLock' }] }, 'a prepared transaction'],
  ])('%j', (facts, says) => {
    const reason = objection({ ...nothing, ...facts }, candidate, config)?.reason
    if (says === undefined) expect(reason).toBeUndefined()
    else expect(reason).toContain(says)
  })

  it('counts the copy and its WAL against the space', () => {
    expect(objection(nothing, candidate, { ...config, freeSpace: 2000 * mebibyte })).toBeUndefined()
    expect(objection(nothing, candidate, { ...config, freeSpace: 1999 * mebibyte })?.concerns).toBe('index')
  })
})

describe('learn', () => {
  it('keeps the best size per tuple, and does not write for less than a hundredth', () => {
    const known = [learned(index(), 100)]
    expect(learn([index({ sizeBytes: 980_000_000 })], known, now).learned).toEqual([
      { ...known[0], bestBytesPerTuple: 98 },
    ])
    expect(learn([index({ sizeBytes: 995_000_000 })], known, now).learned).toEqual([])
    expect(learn([index({ sizeBytes: 2_000_000_000 })], known, now).learned).toEqual([])
  })

  it('remembers when it first saw an index that a rebuild gave another number', () => {
    const known = [learned(index(), 100)]
    const after = learn([index({ oid: 101 })], known, now)
    expect(after).toMatchObject({ learned: [{ oid: 101, firstSeenAt: new Date(0) }], forgotten: [100] })
    // A second index of that name and form is another one.
    expect(learn([index(), index({ oid: 101 })], known, now).learned).toMatchObject([{ oid: 101, firstSeenAt: now }])
  })

  it('learns no size where the count is old or the index small, and nothing of invalid ones', () => {
    const of = (more: Partial<IndexFacts>) =>
      learn([index(more)], [], now).learned.map(({ bestBytesPerTuple }) => bestBytesPerTuple)
    expect(of({ changedRows: 9_000_000 })).toEqual([undefined])
    expect(of({ tuples: 500, tableRows: 500 })).toEqual([undefined])
    expect(of({ valid: false })).toEqual([])
  })
})

it('formats bytes for people', () => {
  expect([0, 8192, 1_300_000, 70 * mebibyte, 5e12].map(formatBytes)).toEqual([
    '0B',
    '8 KiB',
    '1.24 MiB',
    '70 MiB',
    '4.55 TiB',
  ])
})
