import type { Part } from '../stage.js'

export const ownSchema: Part = {
  title: "The scheduler's own schema",
  async run({ output, scheduler }) {
    output.text('All that the scheduler remembers are rows in a schema of its own, beside BattleScope’s tables.')
    await scheduler('migrate')
  },
}
