/** What several files hold together: each killmail once, with its value where another file knows it. */
import type { Killmail } from './killmail.js'
import type { FileProblem, ParsedFile } from './parse-file.js'

export interface FileReport {
  readonly file: string
  readonly loaded: number
  /** Entries whose killmail was there already, from this file or one before. */
  readonly duplicates: number
  /** Entries that are a zkb block alone and gave a value to a killmail. */
  readonly values: number
  readonly problems: readonly FileProblem[]
}

export interface KillmailCollection {
  /** In the order of the files. */
  readonly killmails: readonly Killmail[]
  readonly reports: readonly FileReport[]
}

/** Brings the files together. The first of several killmails with one id wins. */
export function collectKillmails(
  files: readonly { readonly file: string; readonly parsed: ParsedFile }[],
): KillmailCollection {
  const byId = new Map<number, Killmail>()
  const loadedOf = files.map(({ parsed }) => {
    const before = byId.size
    for (const killmail of parsed.killmails) if (!byId.has(killmail.id)) byId.set(killmail.id, killmail)
    return byId.size - before
  })
  const reports = files.map(({ file, parsed }, index) => {
    let values = 0
    for (const { killmailId, valueIsk } of parsed.valueNotes) {
      const killmail = byId.get(killmailId)
      if (killmail === undefined) continue
      values++
      if (killmail.valueIsk === undefined) byId.set(killmailId, { ...killmail, valueIsk })
    }
    const loaded = loadedOf[index] ?? 0
    const lost = parsed.valueNotes.length - values
    const without: FileProblem[] =
      lost === 0
        ? []
        : [{ why: `${lost} entries are a zkb block for a killmail that is in none of the files, and no killmail` }]
    return {
      file,
      loaded,
      duplicates: parsed.killmails.length - loaded,
      values,
      problems: [...parsed.problems, ...without],
    }
  })
  return { killmails: [...byId.values()], reports }
}

/** How many places are listed for one reason. */
const maxPlaces = 3

/** One line per reason, however many entries have it. */
export function describeProblems(problems: readonly FileProblem[]): readonly string[] {
  const places = new Map<string, string[]>()
  for (const { where, why } of problems) {
    const known = places.get(why)
    if (known) known.push(where ?? '')
    else places.set(why, [where ?? ''])
  }
  return [...places].map(([why, list]) => {
    const shown = list.filter((where) => where !== '').slice(0, maxPlaces)
    if (shown.length === 0) return why
    const more = list.length - shown.length
    return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}: ${why}`
  })
}
