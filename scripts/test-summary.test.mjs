import { describe, expect, it } from 'vitest'
import { describeSkip, judgeRun, summarize } from './test-summary.mjs'

const passed = (count) => ({ passed: count, failed: [], skipped: [] })

describe('judgeRun', () => {
  it('takes the numbers of a run that went well', () => {
    expect(judgeRun({ name: 'a', exitCode: 0, report: passed(3) })).toEqual({ name: 'a', ...passed(3) })
  })

  it.each([
    ['wrote no report', { exitCode: 1, report: undefined }, 'the run crashed'],
    ['ended well but wrote no report', { exitCode: 0, report: undefined }, 'the run crashed'],
    ['exited with a code although nothing failed', { exitCode: 1, report: passed(3) }, 'the run crashed'],
    ['ran no test', { exitCode: 0, report: passed(0) }, 'no test ran'],
  ])('counts one failure for a run that %s', (_case, run, name) => {
    expect(judgeRun({ name: 'a', ...run }).failed).toEqual([expect.objectContaining({ name })])
  })

  it('does not count a failed test twice', () => {
    const report = { passed: 1, failed: [{ name: 'x', reason: 'y' }], skipped: [] }
    expect(judgeRun({ name: 'a', exitCode: 1, report }).failed).toHaveLength(1)
  })
})

describe('summarize', () => {
  it('ends with the plain line of counts over all packages', () => {
    const runs = [
      { name: 'a', ...passed(2) },
      {
        name: 'b',
        passed: 1,
        failed: [{ name: 'x', reason: 'y' }],
        skipped: [{ name: 'z (skipped: no pgbouncer; apt-get install pgbouncer)', note: null }],
      },
    ]
    const { lines, exitCode } = summarize(runs)
    expect(lines.at(-1)).toBe('3 passed, 1 failed, 1 skipped')
    expect(lines).toContain('  b: x: y')
    expect(lines).toContain('  b: z (skipped: no pgbouncer; apt-get install pgbouncer)')
    expect(exitCode).toBe(1)
  })

  it('exits with 0 when everything passed, skipped or not', () => {
    expect(summarize([{ name: 'a', passed: 1, failed: [], skipped: [{ name: 'z', note: null }] }]).exitCode).toBe(0)
  })

  it.each([[[]], [[{ name: 'a', passed: 0, failed: [], skipped: [{ name: 'z', note: null }] }]]])(
    'fails when no test ran at all',
    (runs) => {
      const { lines, exitCode } = summarize(runs)
      expect(exitCode).toBe(1)
      expect(lines.at(-1)).toMatch(/^0 passed, 1 failed, \d skipped$/)
    },
  )
})

describe('describeSkip', () => {
  it('shows the note that was given at run time', () => {
    expect(describeSkip({ name: 'x', note: 'no Redis; install redis-server' })).toBe(
      'x: no Redis; install redis-server',
    )
  })

  it('says so when there is no reason', () => {
    expect(describeSkip({ name: 'x', note: null })).toContain('no reason given')
  })
})
