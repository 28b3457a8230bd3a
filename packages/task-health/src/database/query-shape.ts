/** What may be shown of other people's statements: their shape, never a value. Alerts go to third parties, and values may be secrets. */

const mostCharacters = 120
/** Literals, and quoted identifiers: a quotation mark inside one of those begins no literal, nor does the dollar of a name. */
const quoted =
  /"(?:[^"]|"")*(?:"|$)|[eEbBxXuU&]{0,2}'(?:[^']|'')*(?:'|$)|(?<![\w$\u0080-\uffff])\$(\w*)\$[\s\S]*?(?:\$\1\$|$)/g
const comments = /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g
const numbers = /(?<![\w"$])[-+]?\d[\w.]*/g

/**
 * Without literals, numbers and comments, and cut. Also of a statement that the server cut off in the middle of a literal. Where a
 * backslash or a comment makes it unclear where a literal ends, nothing is shown from the first quotation mark on.
 */
export function queryShape(query: string): string {
  const firstQuote = query.search(/['$]|--|\/\*/)
  const isUnclear = firstQuote >= 0 && /\\|--|\/\*/.test(query)
  const shown = isUnclear
    ? `${query.slice(0, firstQuote)}…`
    : query.replace(quoted, (found) => (found.startsWith('"') ? found : '?'))
  const shape = shown.replace(comments, ' ').replace(numbers, '?').replace(/\s+/g, ' ').trim()
  const characters = [...shape]
  return characters.length > mostCharacters ? `${characters.slice(0, mostCharacters - 1).join('')}…` : shape
}
