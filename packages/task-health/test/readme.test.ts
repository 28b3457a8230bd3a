/** The README's table of checks says what their data says. */
import { readFileSync } from 'node:fs'
import { formatDuration } from '@battlescope/scheduler-core'
import { expect, it } from 'vitest'
import { checks } from '../src/checks.js'

const cells = (line: string) =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())
const [, between = ''] = /<!-- checks:start -->(.*)<!-- checks:end -->/s.exec(readFileSync('README.md', 'utf8')) ?? []
const written = between
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map(cells)

it('lists every check with interval, severity and hold-down, and no other', () => {
  const wanted = checks.map(({ key, group, description, interval, severity, holdDownMs }) => [
    `\`${key}\``,
    group,
    description,
    interval === 'every-run' ? 'every run' : formatDuration(interval),
    severity,
    holdDownMs === 0 ? '–' : formatDuration(holdDownMs),
  ])
  expect(written).toEqual(wanted)
})

it('has a hint and one line of description for each', () => {
  for (const { key, description, hint } of checks) {
    expect({ key, isLine: /^[^\n|]{10,200}\.$/.test(description), hasHint: hint.length > 5 }).toEqual({
      key,
      isLine: true,
      hasHint: true,
    })
  }
})
