import type { Part } from '../stage.js'

export const records: Part = {
  title: 'What is on record',
  async run({ output, scheduler }) {
    output.text('Every run, every single change, and where each task stands:')
    await scheduler('history')
    await scheduler('history', '--actions')
    await scheduler('status')
  },
}
