/** The text of one file → its killmails, and what in it is not usable. */
import { isFields, UnusableEntryError } from './fields.js'
import type { Killmail } from './killmail.js'
import { parseEntry, type ParseOptions, type ValueNote } from './parse-killmail.js'

export interface FileProblem {
  /** `entry 17`, `line 3, column 9`; absent when the whole file is meant. */
  readonly where?: string
  readonly why: string
}

export interface ParsedFile {
  readonly killmails: readonly Killmail[]
  readonly valueNotes: readonly ValueNote[]
  readonly problems: readonly FileProblem[]
}

const nothing = (problem: FileProblem): ParsedFile => ({ killmails: [], valueNotes: [], problems: [problem] })

/** Reads a whole file: one killmail, a list of them, or one per line. Never throws: what is unusable becomes a problem. */
export function parseFile(text: string, options: ParseOptions): ParsedFile {
  const json = text.replace(/^\uFEFF/, '')
  if (json.trim() === '') return nothing({ why: 'is empty' })
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    const lines = json.trim().split('\n')
    // One killmail per line is no JSON as a whole, but its first line is.
    const isOnePerLine = lines.length > 1 && isJson(lines[0] ?? '')
    return isOnePerLine ? parseLines(json, options) : nothing(invalidJson(json, error))
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return nothing({ why: 'is an empty list' })
    return parseEntries(
      value.map((entry: unknown, index) => ({ entry, where: `entry ${index + 1}` })),
      options,
    )
  }
  if (!isFields(value)) return nothing({ why: `is JSON, but neither a killmail nor a list of them` })
  const history = Object.entries(value)
  if (history.length > 0 && history.every(([id, hash]) => /^-?\d+$/.test(id) && /^[0-9a-f]{40}$/.test(String(hash)))) {
    return nothing({
      why:
        `is a history, ${history.length} killmail ids with their hashes, and no killmails; ` +
        `fetch each from ESI (/killmails/ID/HASH/) and give those files`,
    })
  }
  return parseEntries([{ entry: value }], options)
}

interface PlacedEntry {
  readonly entry: unknown
  readonly where?: string
}

function parseEntries(entries: Iterable<PlacedEntry>, options: ParseOptions): ParsedFile {
  const killmails: Killmail[] = []
  const valueNotes: ValueNote[] = []
  const problems: FileProblem[] = []
  for (const { entry, where } of entries) {
    try {
      const parsed = parseEntry(entry, options)
      if ('killmail' in parsed) killmails.push(parsed.killmail)
      else valueNotes.push(parsed.valueNote)
    } catch (error) {
      if (!(error instanceof UnusableEntryError)) throw error
      problems.push({ ...(where !== undefined && { where }), why: error.message })
    }
  }
  return { killmails, valueNotes, problems }
}

function parseLines(text: string, options: ParseOptions): ParsedFile {
  const entries: PlacedEntry[] = []
  const broken: FileProblem[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    try {
      entries.push({ entry: JSON.parse(line) as unknown, where: `line ${index + 1}` })
    } catch {
      broken.push({ where: `line ${index + 1}`, why: 'is not JSON' })
    }
  }
  const parsed = parseEntries(entries, options)
  return { ...parsed, problems: [...parsed.problems, ...broken] }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The engine says what is wrong, and mostly where; it quotes the text, line breaks included. */
function invalidJson(text: string, error: unknown): FileProblem {
  const message = (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' ')
  const position = /at position (\d+)/.exec(message)?.[1]
  if (/end of JSON|[Uu]nterminated/.test(message)) return { why: 'is not JSON: it ends too early' }
  if (position === undefined) return { why: `is not JSON: ${message}` }
  const before = text.slice(0, Number(position))
  const line = before.split('\n').length
  const column = before.length - before.lastIndexOf('\n')
  return {
    where: `line ${line}, column ${column}`,
    why: `is not JSON: ${message.replace(/ in JSON at position.*/, '')}`,
  }
}
