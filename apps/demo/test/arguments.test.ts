import { describe, expect, it } from 'vitest'
import { defaultSize, parseArguments } from '../src/arguments.js'

describe('the command line', () => {
  it('has defaults', () => {
    expect(parseArguments([])).toEqual({
      kind: 'demo',
      arguments: { size: defaultSize, killmails: [], keep: false, seed: 1 },
    })
  })

  it('takes several paths after one --killmails, and --killmails more than once', () => {
    const argv = ['--killmails', 'a.json', 'b', '--size', '50_000', '--killmails', 'c.json', '--keep', '--seed=7']
    expect(parseArguments(argv)).toEqual({
      kind: 'demo',
      arguments: { size: 50_000, killmails: ['a.json', 'b', 'c.json'], keep: true, seed: 7 },
    })
  })

  it('drops the -- that pnpm hands on', () => {
    expect(parseArguments(['--', '--size', '5'])).toMatchObject({ kind: 'demo', arguments: { size: 5 } })
  })

  it.each([['--help'], ['-h'], ['--size', '5', '--help']])('shows help for %j', (...argv) => {
    expect(parseArguments(argv)).toEqual({ kind: 'help' })
  })

  it.each<[string[], string]>([
    [['--size', '0'], "--size must be a whole number from 1 to 1000000, but got '0'"],
    [['--size', '1.5'], "--size must be a whole number from 1 to 1000000, but got '1.5'"],
    [['--size', '1e3'], "--size must be a whole number from 1 to 1000000, but got '1e3'"],
    [['--size', '_'], "--size must be a whole number from 1 to 1000000, but got '_'"],
    [['--size'], '--size must be a whole number from 1 to 1000000, but got nothing'],
    [['--seed', '-1'], "--seed must be a whole number from 0 to 4294967295, but got '-1'"],
    [['--killmails'], '--killmails needs at least one file or folder'],
    [['--killmails', '--keep'], '--killmails needs at least one file or folder'],
    [['--keep', 'yes'], "unexpected argument 'yes'"],
    [['--keep=yes'], "--keep takes no value, but got 'yes'"],
    [['50000'], "unexpected argument '50000'"],
    [['--sise', '5'], "unknown option '--sise'; there are --size, --killmails, --keep, --seed, --help"],
  ])('refuses %j', (argv, problem) => {
    const parsed = parseArguments(argv)
    expect(parsed).toMatchObject({ kind: 'problems' })
    expect('problems' in parsed && parsed.problems).toContain(problem)
  })

  it('names every problem at once', () => {
    expect(parseArguments(['--size', 'x', '--seed', 'y', 'z'])).toMatchObject({
      problems: [
        "--size must be a whole number from 1 to 1000000, but got 'x'",
        "--seed must be a whole number from 0 to 4294967295, but got 'y'",
        "unexpected argument 'z'",
      ],
    })
  })
})
