import { describe, expect, it } from 'vitest'
import { planStatistics } from '../src/plan.js'

describe('planStatistics', () => {
  it.each([
    [0, 10, []],
    [7, 10, [7]],
    [20, 10, [10, 10]],
    [25, 10, [10, 10, 5]],
  ])('cuts %i rows into batches of %i', (expiredRows, batchSize, batches) => {
    expect(planStatistics({ expiredRows, batchSize })).toEqual({ batches })
  })
})
