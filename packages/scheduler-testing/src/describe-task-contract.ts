import type { AnyTask } from '@battlescope/scheduler-core'
import { describe, it } from 'vitest'
import { taskContract, type TaskContractOptions } from './task-contract.js'

/**
 * The contract suite of a task, as vitest tests against real PostgreSQL.
 *
 * ```ts
 * describeTaskContract(loot, { unseeded: createLootTable, seed: insertOldLoot })
 * ```
 */
export function describeTaskContract(task: AnyTask, options: TaskContractOptions): void {
  describe(`task contract of '${task.name}'`, () => {
    for (const check of taskContract(task, options)) it(check.name, () => check.run())
    if (options.repeats !== undefined) it(`may act again in a second run: ${options.repeats}`, () => undefined)
  })
}
