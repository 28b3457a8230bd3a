/** The demo's command line. */
import { parseArgs } from 'node:util'

export interface DemoArguments {
  /** How many killmails there are at the end, real ones included. */
  readonly size: number
  /** Files and folders with real killmails, as given. */
  readonly killmails: readonly string[]
  readonly keep: boolean
  readonly seed: number
}

export type ParsedArguments =
  | { readonly kind: 'demo'; readonly arguments: DemoArguments }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] }

export const defaultSize = 20_000
/** All of it is in memory once; a million killmails take about a gigabyte. */
const maxSize = 1_000_000
const defaultSeed = 1
const maxSeed = 2 ** 32 - 1

export const usage = `npm run demo -- [--size N] [--killmails PATH…] [--keep] [--seed N]

Starts PostgreSQL on a free port, fills a BattleScope database, and runs the scheduler on it as cron would.

  --size N           killmails to have in the end, 1 to ${maxSize} (default ${defaultSize})
  --killmails PATH…  real killmails to load first: files or folders, in ESI or zKillboard form; generated
                     ones fill up to the size. May be given more than once
  --keep             leave PostgreSQL running at the end, and say how to connect to it and how to stop it
  --seed N           another set of generated killmails, 0 to ${maxSeed} (default ${defaultSeed})
  --help             this text
`

export function parseArguments(argv: readonly string[]): ParsedArguments {
  const { tokens } = parseArgs({
    // pnpm hands on the `--` that ends its own options.
    args: argv[0] === '--' ? argv.slice(1) : [...argv],
    options: {
      size: { type: 'string' },
      killmails: { type: 'string' },
      keep: { type: 'boolean' },
      seed: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const problems: string[] = []
  const killmails: string[] = []
  let [size, seed, keep, help, listing] = [defaultSize, defaultSeed, false, false, false]
  for (const token of tokens) {
    if (token.kind === 'positional' && listing) killmails.push(token.value)
    else if (token.kind === 'positional') problems.push(`unexpected argument '${token.value}'`)
    if (token.kind !== 'option') continue
    listing = token.name === 'killmails'
    switch (token.name) {
      case 'size':
        size = readNumber('--size', token.value, 1, maxSize, problems)
        break
      case 'seed':
        seed = readNumber('--seed', token.value, 0, maxSeed, problems)
        break
      case 'killmails':
        if (token.value === undefined || token.value === '' || token.value.startsWith('--'))
          problems.push('--killmails needs at least one file or folder')
        else killmails.push(token.value)
        break
      case 'keep':
      case 'help':
        if (token.value !== undefined) problems.push(`--${token.name} takes no value, but got '${token.value}'`)
        if (token.name === 'keep') keep = true
        else help = true
        break
      default:
        problems.push(`unknown option '${token.rawName}'; there are --size, --killmails, --keep, --seed, --help`)
    }
  }
  if (problems.length > 0) return { kind: 'problems', problems }
  return help ? { kind: 'help' } : { kind: 'demo', arguments: { size, killmails, keep, seed } }
}

function readNumber(option: string, text: string | undefined, from: number, to: number, problems: string[]): number {
  const value = Number(text?.replaceAll('_', ''))
  if (text !== undefined && /^[\d_]+$/.test(text) && value >= from && value <= to) return value
  const given = text === undefined ? 'nothing' : `'${text}'`
  problems.push(`${option} must be a whole number from ${from} to ${to}, but got ${given}`)
  return from
}
