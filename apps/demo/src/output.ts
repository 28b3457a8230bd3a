/** What the demo writes between the scheduler's own output. */
export interface Output {
  heading(text: string): void
  /** Plain lines. */
  text(...lines: readonly string[]): void
  /** Columns as wide as they need be; numbers to the right. The first row is the head. */
  table(rows: readonly (readonly (string | number)[])[]): void
}

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** 1234567 → 1,234,567 */
export const formatCount = (count: number): string => grouped.format(count)

function formatTable(rows: readonly (readonly (string | number)[])[]): readonly string[] {
  const isNumber = (column: number): boolean => rows.slice(1).some((row) => typeof row[column] === 'number')
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? formatCount(cell) : cell)))
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    widths
      .map((width, column) =>
        isNumber(column) ? (row[column] ?? '').padStart(width) : (row[column] ?? '').padEnd(width),
      )
      .join('  ')
      .trimEnd()
  const [head = [], ...body] = cells
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)]
}

/** Writes to a stream, headings in bold where the stream shows colour. */
export function createOutput(write: (text: string) => void, colour: boolean): Output {
  const lines = (texts: readonly string[]): void => write(texts.map((text) => `${text}\n`).join(''))
  return {
    heading: (text) => lines(['', colour ? `\u001b[1m${text}\u001b[0m` : `== ${text}`, '']),
    text: (...texts) => lines(texts),
    table: (rows) => lines(formatTable(rows)),
  }
}
