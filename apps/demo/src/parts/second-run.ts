import type { Part } from '../stage.js'

export const secondRun: Part = {
  title: 'Second run: nothing to do',
  async run({ output, scheduler }) {
    output.text('Five minutes later nothing has changed, so nothing is done:')
    await scheduler('plan')
    await scheduler('run')
  },
}
