/** COPY's text format. Source: https://www.postgresql.org/docs/15/sql-copy.html, "Text Format". */

export type CopyValue = string | number | boolean | bigint | null | Date | readonly number[]

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function formatValue(value: CopyValue): string {
  if (value === null) return '\\N'
  if (typeof value === 'string') return value.replace(/[\\\n\r\t]/g, (character) => escapes[character] ?? character)
  if (typeof value === 'boolean') return value ? 't' : 'f'
  if (value instanceof Date) return value.toISOString()
  if (typeof value === 'object') return `{${value.join(',')}}`
  return String(value)
}

const formatRow = (row: readonly CopyValue[]): string => `${row.map(formatValue).join('\t')}\n`

/** Rows a socket write is worth: larger chunks cost memory, smaller ones system calls. */
const chunkCharacters = 65_536

/** Rows as chunks of COPY text. */
export function* formatRows(rows: Iterable<readonly CopyValue[]>): Generator<string> {
  let chunk = ''
  for (const row of rows) {
    chunk += formatRow(row)
    if (chunk.length >= chunkCharacters) {
      yield chunk
      chunk = ''
    }
  }
  if (chunk !== '') yield chunk
}
