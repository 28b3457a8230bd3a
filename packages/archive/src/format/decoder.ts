/** Rows of an object as text, for a restore. */
import { ArchiveMismatch } from './format-error.js'
import { openObject } from './object-reader.js'
import type { TextRows } from './types.js'
import { columnTexts } from './value-text.js'

/**
 * The rows of an object, one row group after another, in PostgreSQL's input text form: `INSERT … SELECT … FROM unnest($1::text[], …)` with
 * a cast to each column's `typeName`. Run `pinTextOutput` first: some text is read differently under other settings.
 * @param columns which of the object's columns. Default: all
 * @throws ArchiveMismatch when the object cannot be decoded; `verifyObject` says whether it is the right one
 */
export async function* decodeRows(
  bytes: Uint8Array,
  columns?: readonly string[],
): AsyncGenerator<TextRows, void, undefined> {
  const object = openObject(bytes)
  const wanted = (columns ?? object.columns.map(({ name }) => name)).map((name) => {
    const index = object.columns.findIndex((column) => column.name === name)
    if (index < 0) throw new ArchiveMismatch(`it has no column '${name}'`)
    return { name, index }
  })
  for (const group of object.rowGroups) {
    const values: [string, (string | null)[]][] = []
    // One after another: texts take several times the room of the values.
    for (const { name, index } of wanted) values.push([name, columnTexts(await group.readColumn(index))])
    yield { rowCount: group.rowCount, values: Object.fromEntries(values) }
  }
}
