import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Part } from '../stage.js'

/** In the repository, and ignored by git: the one thing that outlives the demo. */
const folder = new URL('../../../../.tmp/', import.meta.url)
const out = '.tmp/report.html'

export const report: Part = {
  title: 'A page to look at',
  async run({ output, schedulerWith }) {
    await mkdir(folder, { recursive: true })
    output.text(
      'One file, which needs neither network nor script; a month on record is worth looking at more than these minutes:',
    )
    await schedulerWith(
      { SCHEDULER_TASKS: 'analyze,statistics,cluster,retention' },
      'report',
      '--since',
      '1h',
      '--out',
      out,
    )
    output.text('', `Open it: ${fileURLToPath(new URL('report.html', folder))}`)
  },
}
