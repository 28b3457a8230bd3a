import { FakeTimer } from '@battlescope/scheduler-testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sizeAfter, Sizes } from '../src/sizes.js'

const limits = { mostRows: 5000, targetMs: 25 }

describe('sizeAfter', () => {
  it.each([
    [1000, 1000, 25, 1000],
    [1000, 1000, 27, 925],
    // As slowly as it grows: else half of all statements being a little too long would make them small.
    [1000, 1000, 50, 800],
    [1000, 1000, 101, 500],
    [1000, 1000, 5, 1250],
    // A quarter of one row is none, and would be for ever.
    [1, 1, 1, 2],
    [3, 3, 1, 4],
    [4900, 4900, 1, 5000],
    // One that met a busy moment says little of the next.
    [10, 10, 10_000, 5],
    [1, 1, 10_000, 1],
    // A last batch of few rows says how fast it was, not that few are enough.
    [1000, 10, 0.25, 1000],
    [1000, 0, 0, 1000],
  ])('%i rows, of which %i took %d ms, become %i', (current, rows, tookMs, next) => {
    expect(sizeAfter(current, rows, tookMs, limits)).toBe(next)
  })
})

describe('sizes where times differ a lot', () => {
  it('come to where half of the statements take less than they should', () => {
    // 10 ms before the first row, 0.01 ms for each, and every third one waits for a core for three times as long.
    const tookMs = (rows: number, index: number) => (10 + rows / 100) * (index % 3 === 0 ? 3 : 1)
    let rows = 1000
    const sizes: number[] = []
    for (let index = 0; index < 300; index += 1) {
      rows = sizeAfter(rows, rows, tookMs(rows, index), limits)
      if (index >= 100) sizes.push(rows)
    }
    // 1500 take 25 ms when they need not wait.
    expect(Math.min(...sizes)).toBeGreaterThan(1000)
    expect(Math.max(...sizes)).toBeLessThan(1600)
  })
})

describe('Sizes', () => {
  const timer = new FakeTimer()
  const sizesWith = (saved: Record<string, number>) => new Sizes(saved, limits, timer)

  it('cover everything once, whatever each statement takes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(2000),
        fc.integer({ min: 1, max: 5000 }),
        fc.infiniteStream(fc.nat(200)),
        async (count, first, tookMs) => {
          const sizes = sizesWith({ x: first })
          let next = 0
          await sizes.cover('x', count, async (from, end) => {
            expect(from).toBe(next)
            expect(end - from).toBeGreaterThan(0)
            expect(end - from).toBeLessThanOrEqual(limits.mostRows)
            next = end
            timer.advance(tookMs.next().value as number)
          })
          expect(next).toBe(count)
        },
      ),
    )
  })

  it.each(['57014', '55P03'])('halve what failed with %s, and pass it on', async (code) => {
    const sizes = sizesWith({ x: 100 })
    const failure = Object.assign(new Error('cancelled'), { code })
    await expect(sizes.cover('x', 1000, () => Promise.reject(failure))).rejects.toBe(failure)
    expect(sizes.of('x')).toBe(50)
  })

  it('keep the size after any other failure', async () => {
    const sizes = sizesWith({ x: 100 })
    await expect(sizes.cover('x', 1000, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(sizes.of('x')).toBe(100)
  })

  it('grow back after they were halved, up to the most', () => {
    const sizes = sizesWith({})
    expect(sizes.of('batch', 5000)).toBe(5000)
    sizes.fit('batch', 5000, 25, 2000)
    expect(sizes.of('batch', 5000)).toBe(5000)
    sizes.halve('batch', 4000)
    expect(sizes.of('batch', 5000)).toBe(2000)
    for (let times = 0; times < 20; times += 1) sizes.fit('batch', sizes.of('batch'), 25, 2000)
    expect(sizes.of('batch', 5000)).toBe(5000)
  })

  it('come to what fits into the time of a transaction', () => {
    const sizes = sizesWith({})
    // 100 ms for each row, as where every delete scans a relation: 20 rows fit into two seconds.
    for (let times = 0; times < 40; times += 1) sizes.fit('batch', sizes.of('batch'), sizes.of('batch') * 100, 2000)
    expect(sizes.of('batch')).toBe(20)
  })

  it('end a transaction that would hold its locks for too long, at the next statement', async () => {
    const sizes = sizesWith({ x: 10 })
    let statements = 0
    const transaction = () =>
      sizes.cover('x', 100, () => {
        statements += 1
        timer.advance(30)
        return Promise.resolve()
      })
    await expect(sizes.within(100, 100, transaction)).rejects.toMatchObject({ code: 'batch-too-large' })
    expect(statements).toBe(4)
    // Its limit ends with it, and one row cannot be less.
    await sizes.cover('x', 100, () => Promise.resolve())
    await sizes.within(1, 1, transaction)
  })
})
