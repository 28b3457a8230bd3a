import { SchedulerError } from '../errors.js'

/** One thing that is wrong with the configuration. No property ever holds a secret. */
export interface Problem {
  /** What the user wrote: a flag, an environment variable, or the path in the file. */
  readonly path: string
  /** Where in the file, as `scheduler.yaml:12`. */
  readonly location?: string
  /** What was given, quoted, cut to 80 characters and with control characters escaped. Absent for secrets. */
  readonly given?: string
  readonly expected: string
  readonly hint?: string
}

/** Everything that is wrong with the configuration, at once. Exit code 78. */
export class ConfigurationError extends SchedulerError {
  override readonly name = 'ConfigurationError'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super('configuration', formatProblems(problems), {
      hint: 'the command `config` prints every option with its value and source',
    })
    this.problems = problems
  }
}

/** One paragraph per problem: name, place, what is expected, what was given; then the hint on a line of its own. */
export function formatProblems(problems: readonly Problem[]): string {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  return [`the configuration has ${count}`, ...problems.map(formatProblem)].join('\n')
}

function formatProblem({ path, location, given, expected, hint }: Problem): string {
  const place = location === undefined ? path : `${path} (${location})`
  const line = `  ${place}: expected ${expected}${given === undefined ? '' : `; given ${given}`}`
  return hint === undefined ? line : `${line}\n    hint: ${hint}`
}

const longestGiven = 80
const longestPath = 120

/** A value as a problem may show it. Objects and lists are named, never shown: they may hold anything. */
export function showGiven(value: unknown): string {
  if (typeof value === 'string') return `'${cut(value, longestGiven)}'`
  if (Array.isArray(value)) return 'a list'
  if (value !== null && typeof value === 'object') return 'a mapping'
  return cut(String(value), longestGiven)
}

/** A name that the user wrote, safe for terminals and logs. */
export function showName(name: string): string {
  return cut(name, longestPath)
}

function cut(text: string, length: number): string {
  const characters = [...text.slice(0, length * 2)]
  const cutOff = characters.length > length || text.length > length * 2
  const kept = (cutOff ? characters.slice(0, length - 1) : characters).map(escapeCharacter).join('')
  return cutOff ? `${kept}…` : kept
}

/** Control characters steer terminals, direction marks and lone surrogates make a text read as another. */
function escapeCharacter(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  if (character === '\r') return '\\r'
  if (!/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(character)) return character
  return `\\u{${character.codePointAt(0)?.toString(16)}}`
}
