/** `pnpm --filter @battlescope/demo shape`: the measured figures beside those of generated killmails, as README.md shows them. */
import { defaultSize } from './arguments.js'
import { generateKillmails } from './generator/generate.js'
import { measureShape } from './generator/measure.js'
import { shapeRows } from './generator/shape-rows.js'
import { formatCount } from './output.js'

/** A Monday evening: the shape is the same at any time, but the last digits are not. */
const endsAtMs = Date.UTC(2026, 10, 23, 20)

const rows = shapeRows(measureShape(generateKillmails({ count: defaultSize, seed: 1, endsAtMs })))
const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
const line = (row: readonly string[]): string =>
  `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
const [head = [], ...body] = rows
process.stdout.write(`${formatCount(defaultSize)} generated killmails\n\n`)
process.stdout.write(`${[line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n')}\n`)
