/** Longer names are not typed by hand, and comparing costs length times length. */
const longestCompared = 120

/**
 * The candidates that somebody who typed `name` may have meant, best first, at most `limit`; none when nothing is near.
 * Near is a Damerau–Levenshtein distance of up to a third of the name (at most 4), or being begun by it (`stat` for `statistics`).
 */
export function nearest(name: string, candidates: Iterable<string>, limit = 3): string[] {
  if (name.length === 0 || name.length > longestCompared) return []
  const wanted = name.toLowerCase()
  const allowed = Math.min(4, Math.max(1, Math.floor(wanted.length / 3)))
  const ranked: { readonly candidate: string; readonly distance: number }[] = []
  for (const candidate of new Set(candidates)) {
    const offered = candidate.toLowerCase()
    if (Math.abs(offered.length - wanted.length) <= allowed) {
      const distance = editDistance(wanted, offered)
      if (distance <= allowed) ranked.push({ candidate, distance })
    } else if (wanted.length >= 3 && offered.startsWith(wanted)) {
      ranked.push({ candidate, distance: allowed + offered.length - wanted.length })
    }
  }
  ranked.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
  return ranked.slice(0, limit).map(({ candidate }) => candidate)
}

/** How many letters to insert, delete, replace, or swap with their neighbour (Damerau–Levenshtein, each pair swapped once). */
export function editDistance(from: string, to: string): number {
  const a = [...from]
  const b = [...to]
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  const at = (row: number, column: number) => rows[row]?.[column] ?? 0
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replaced, swapped))
    }
  }
  return at(a.length, b.length)
}

/** `did you mean 'a' or 'b'?`, or undefined when nothing is near. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  const names = nearest(name, candidates)
  return names.length === 0 ? undefined : `did you mean ${names.map((each) => `'${each}'`).join(' or ')}?`
}
