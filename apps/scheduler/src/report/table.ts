/** Tables that become lists of cards on a narrow screen. Roles are written out, for `display: block` takes them away. */
import { html, type Content, type Html } from './html.js'

export interface Column<Row> {
  readonly heading: string
  readonly cell: (row: Row) => Content
  /** Right-aligned, in digits of one width. */
  readonly numeric?: boolean
  /** Takes what room there is. */
  readonly wide?: boolean
}

/** The first column names the row. @param most rows that stand open: the others are one key or click away */
export function table<Row>(
  caption: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  most = Infinity,
): Html {
  const rest = rows.slice(most)
  const open = oneTable(caption, columns, rows.slice(0, most))
  if (rest.length === 0) return open
  return html`${open}
    <details>
      <summary>${rest.length} more</summary>
      ${oneTable(`${caption}, continued`, columns, rest)}
    </details>`
}

function oneTable<Row>(caption: string, columns: readonly Column<Row>[], rows: readonly Row[]): Html {
  const kindOf = ({ numeric, wide }: Column<Row>) => (numeric === true ? 'number' : wide === true ? 'wide' : 'text')
  const head = columns.map(
    (column) => html`<th scope="col" role="columnheader" class="${kindOf(column)}">${column.heading}</th>`,
  )
  const body = rows.map((row) => {
    const cells = columns.map((column, index) =>
      index === 0
        ? html`<th scope="row" role="rowheader">${column.cell(row)}</th>`
        : html`<td role="cell" class="${kindOf(column)}" data-label="${column.heading}">${column.cell(row)}</td>`,
    )
    return html`<tr role="row">
      ${cells}
    </tr> `
  })
  return html`<table role="table">
    <caption>
      ${caption}
    </caption>
    <thead role="rowgroup">
      <tr role="row">
        ${head}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${body}
    </tbody>
  </table>`
}
