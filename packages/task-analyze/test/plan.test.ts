import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { analyzeConfig, type AnalyzeConfig } from '../src/config.js'
import {
  failureOf,
  keyOf,
  nextCursor,
  planAnalyze,
  resultOf,
  type AnalyzePlan,
  type Attempt,
  type Cursor,
} from '../src/plan.js'
import type { Candidate } from '../src/queries.js'

const defaults = analyzeConfig.parse({ relations: ['public.*'] })

function candidate(name: string, change: Partial<Candidate> = {}): Candidate {
  return {
    schema: 'public',
    name,
    kind: 'table',
    estimatedRows: 100_000,
    changedRows: 0,
    leafChanges: 0,
    permitted: true,
    lastAnalyzeAt: new Date(0),
    ...change,
  }
}

const none: Cursor = { parents: {}, slow: [] }
const plan = (candidates: Candidate[], config: Partial<AnalyzeConfig> = {}, cursor = none) =>
  planAnalyze(candidates, { ...defaults, ...config }, cursor)
const names = ({ actions }: AnalyzePlan) => actions.map(({ candidate: { name } }) => name)

describe('planAnalyze', () => {
  it('takes what was never analyzed first, then what changed most', () => {
    const result = plan([
      candidate('a', { changedRows: 6000 }),
      candidate('b', { changedRows: 50_000 }),
      candidate('c', { estimatedRows: undefined }),
      candidate('d', { changedRows: 10 }),
    ])
    expect(names(result)).toEqual(['c', 'b', 'a'])
    expect(result.unchanged.map(({ name }) => name)).toEqual(['d'])
  })

  it('takes last what took too long before', () => {
    const candidates = [
      candidate('a', { changedRows: 6000 }),
      candidate('b', { estimatedRows: undefined }),
      candidate('c', { estimatedRows: undefined }),
    ]
    expect(names(plan(candidates, {}, { parents: {}, slow: ['public.b'] }))).toEqual(['c', 'a', 'b'])
  })

  it.each([
    ['under the floor', 100, 499, false],
    ['at the floor', 100, 500, true],
    ['under the share', 1_000_000, 49_999, false],
    ['at the share', 1_000_000, 50_000, true],
    ['in an empty relation', 0, 500, true],
  ])('%s: %i rows, %i changed → %s', (_name, estimatedRows, changedRows, expected) => {
    expect(names(plan([candidate('t', { estimatedRows, changedRows })]))).toEqual(expected ? ['t'] : [])
  })

  it('never repeats an empty relation that was analyzed', () => {
    expect(names(plan([candidate('empty', { estimatedRows: 0 })]))).toEqual([])
  })

  it('judges a partitioned parent by what its leaves counted since its last ANALYZE', () => {
    const parent = candidate('parent', { kind: 'partitioned', leafChanges: 20_000, changedRows: 0 })
    expect(names(plan([parent]))).toEqual(['parent'])
    expect(names(plan([parent], {}, { parents: { 'public.parent': 20_000 }, slow: [] }))).toEqual([])
    expect(names(plan([parent], {}, { parents: { 'public.parent': 14_999 }, slow: [] }))).toEqual(['parent'])
    // Statistics were reset since.
    expect(names(plan([parent], {}, { parents: { 'public.parent': 9_000_000 }, slow: [] }))).toEqual(['parent'])
  })

  it('names what is not ours, and what does not exist', () => {
    const result = plan([candidate('mine'), candidate('theirs', { permitted: false, changedRows: 90_000 })], {
      relations: ['mine', 'public.theirs', 'absent', 'nothing_*'],
    })
    expect(names(result)).toEqual([])
    expect(result.notPermitted.map(({ name }) => name)).toEqual(['theirs'])
    expect(result.missing).toEqual(['absent', 'nothing_*'])
  })

  it.each([
    [['*'], ['a', 'b_1']],
    [['public.?'], ['a']],
    [['b*'], ['b_1']],
    [['other.*'], ['x']],
    [['*.*'], ['a', 'b_1', 'x']],
    [['"b_1"'], ['b_1']],
    [['A'], ['a']],
    [['"A"'], []],
    [['PUBLIC.B*'], ['b_1']],
  ])('reads %j as a pattern', (relations, expected) => {
    const candidates = [candidate('a'), candidate('b_1'), candidate('x', { schema: 'other' })]
    expect(names(plan(candidates, { relations, when: 'always' })).sort()).toEqual(expected)
  })

  const anyCandidate = fc.record({
    schema: fc.constantFrom('public', 'other', 'Odd "schema".x'),
    name: fc.string({ minLength: 1, maxLength: 20 }),
    kind: fc.constantFrom('table' as const, 'partitioned' as const, 'materialized-view' as const),
    estimatedRows: fc.option(fc.nat(10_000_000), { nil: undefined }),
    changedRows: fc.nat(10_000_000),
    leafChanges: fc.nat(10_000_000),
    permitted: fc.boolean(),
    lastAnalyzeAt: fc.constant(undefined),
  })
  const candidates = fc.uniqueArray(anyCandidate, { selector: keyOf, maxLength: 20 })

  it('with always plans everything that is permitted, once', () => {
    fc.assert(
      fc.property(candidates, (all) => {
        const keys = plan(all, { relations: ['*.*'], when: 'always' }).actions.map((action) => keyOf(action.candidate))
        expect(keys.sort()).toEqual(
          all
            .filter(({ permitted }) => permitted)
            .map(keyOf)
            .sort(),
        )
      }),
    )
  })

  it('never plans what is excluded, and does not depend on the order of what it reads', () => {
    fc.assert(
      fc.property(candidates, (all) => {
        const config = { relations: ['*.*'], exclude: ['other.*'] }
        const planned = plan(all, config)
        expect(planned.actions.some((action) => action.candidate.schema === 'other')).toBe(false)
        expect(plan([...all].reverse(), config).actions).toEqual(planned.actions)
      }),
    )
  })

  it('has nothing left to do after it was carried out', () => {
    fc.assert(
      fc.property(candidates, (all) => {
        const first = plan(all, { relations: ['*.*'] })
        const { actions } = first
        const cursor = nextCursor(
          none,
          first,
          actions.map((planned) => ({ planned, result: 'analyzed' })),
        )
        const after = all.map((one) =>
          actions.some((action) => action.candidate === one)
            ? { ...one, estimatedRows: one.estimatedRows ?? 0, changedRows: 0 }
            : one,
        )
        expect(plan(after, { relations: ['*.*'] }, cursor).actions).toEqual([])
      }),
    )
  })
})

describe('afterwards', () => {
  const stale = plan([
    candidate('a', { estimatedRows: undefined }),
    candidate('b', { kind: 'partitioned', leafChanges: 70_000 }),
    candidate('c', { changedRows: 60_000 }),
    candidate('d', { changedRows: 50_000 }),
  ])
  const attempt = (name: string, result: Attempt['result'], reason?: string): Attempt => {
    const planned = stale.actions.find((action) => action.candidate.name === name)
    if (planned === undefined) throw new Error(`nothing is planned for ${name}`)
    return { planned, result, ...(reason === undefined ? {} : { reason }) }
  }

  it('a relation that took too long, or more than the budget, comes last, until it is analyzed or fresh', () => {
    const before: Cursor = { parents: { 'public.b': 1 }, slow: ['public.c', 'public.fresh', 'public.d'] }
    const attempts = [attempt('a', 'too-slow'), attempt('b', 'analyzed'), attempt('c', 'analyzed')]
    expect(nextCursor(before, stale, [...attempts, attempt('d', 'out-of-budget')])).toEqual({
      parents: { 'public.b': 70_000 },
      slow: ['public.d', 'public.a'],
    })
  })

  it('what was not begun, or did not fit the budget, is left for the next run', () => {
    expect(resultOf(stale, [attempt('a', 'analyzed'), attempt('b', 'out-of-budget')], defaults)).toEqual({
      outcome: 'partial',
      remaining: 3,
      findings: [],
    })
  })

  it('what failed is named, and does not make the task fail', () => {
    const attempts = [
      attempt('a', 'too-slow', 'did not end'),
      attempt('b', 'analyzed'),
      attempt('c', 'not-now', 'is locked'),
      attempt('d', 'analyzed'),
    ]
    expect(failureOf(attempts)).toBeUndefined()
    expect(resultOf(stale, attempts, defaults)).toMatchObject({
      outcome: 'succeeded',
      findings: [{ key: 'not-analyzed', summary: 'not analyzed: public.a (did not end), public.c (is locked)' }],
    })
  })
})

describe('a run that analyzed nothing', () => {
  const stale = plan([candidate('a', { estimatedRows: undefined }), candidate('b', { estimatedRows: undefined })])
  const [a, b] = stale.actions
  if (a === undefined || b === undefined) throw new Error('nothing is planned')

  it('is skipped when the relations were not available', () => {
    const attempts: Attempt[] = [
      { planned: a, result: 'not-now', reason: 'is locked' },
      { planned: b, result: 'not-now', reason: 'permission denied' },
    ]
    expect(failureOf(attempts)).toBeUndefined()
    expect(resultOf(stale, attempts, defaults)).toMatchObject({
      outcome: 'skipped',
      reason: 'nothing could be analyzed: public.a (is locked), public.b (permission denied)',
    })
  })

  it('has failed when ANALYZE itself did', () => {
    const locked: Attempt = { planned: a, result: 'not-now', reason: 'is locked' }
    expect(failureOf([locked, { planned: b, result: 'failed', reason: 'damaged' }])).toBe(
      'nothing was analyzed: public.b (damaged)',
    )
    expect(failureOf([{ planned: a, result: 'too-slow', reason: 'did not end' }])).toContain('did not end')
  })

  it('has not failed when the budget ended first, or nothing was tried', () => {
    const failed: Attempt = { planned: a, result: 'failed', reason: 'damaged' }
    expect(failureOf([failed, { planned: b, result: 'out-of-budget' }])).toBeUndefined()
    expect(resultOf(stale, [failed], defaults)).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(failureOf([])).toBeUndefined()
  })
})

describe('the options', () => {
  it('refuse names that PostgreSQL could not mean', () => {
    for (const name of ['', 'a.b.c', 'x'.repeat(64), 'a.b.*', '"open']) {
      expect(analyzeConfig.safeParse({ relations: [name] }).success, name).toBe(false)
    }
  })
})
