/**
 * Names of relations as people write them: `killmail_events`, `public.battles`, `"Odd.Name"."x""y"`. What is not quoted is folded to
 * lower case, as PostgreSQL does.
 */
import { DatabaseError } from './database-error.js'
import { assertIdentifier } from './quoting.js'

export interface RelationName {
  readonly schema: string
  readonly name: string
}

const unquoted = /^[A-Za-z_\u0080-\u{10ffff}][A-Za-z0-9_$\u0080-\u{10ffff}]*$/u
const part = /"(?:[^"]|"")*"|[^."]+/y

/**
 * Reads `name` or `schema.name`; without a schema it is `defaultSchema` (default: `public`).
 * @throws DatabaseError `identifier` that quotes the text, says what is wrong, and how to write it
 */
export function parseRelationName(text: string, defaultSchema = 'public'): RelationName {
  const refuse = (problem: string, hint: string): never => {
    throw new DatabaseError('identifier', `'${text}' is not the name of a relation: ${problem}`, { hint })
  }
  const trimmed = text.trim()
  if (trimmed === '') return refuse('it is empty', 'write name or schema.name')
  const parts: string[] = []
  let position = 0
  for (;;) {
    part.lastIndex = position
    const found = part.exec(trimmed)?.[0]
    if (found === undefined) {
      const rest = trimmed.slice(position)
      if (rest.startsWith('"'))
        return refuse('a quotation mark has no counterpart', 'write a quotation mark inside quotes twice: "x""y"')
      return refuse(
        'a part beside a dot is empty',
        'write name or schema.name; a dot inside a name needs quotes: "a.b"',
      )
    }
    parts.push(found)
    position += found.length
    if (position === trimmed.length) break
    if (trimmed[position] !== '.')
      return refuse('something follows a quoted part', 'only a dot may stand between two parts')
    position += 1
  }
  if (parts.length > 2)
    return refuse(`it has ${parts.length} parts`, 'write name or schema.name; a dot inside a name needs quotes: "a.b"')
  const names = parts.map((given, index) => {
    const what = index === parts.length - 1 ? 'name' : 'schema'
    if (!given.startsWith('"') && !unquoted.test(given)) {
      return refuse(
        `${given} needs quotes`,
        'without quotes only letters, digits, _ and $ are allowed, and no digit at the beginning; write "…" around it',
      )
    }
    const name = given.startsWith('"')
      ? given.slice(1, -1).replaceAll('""', '"')
      : // ASCII alone: what PostgreSQL does with other letters depends on the locale of the server.
        given.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
    assertIdentifier(name, `${what} in '${text}'`)
    return name
  })
  const [first = '', second] = names
  return second === undefined ? { schema: defaultSchema, name: first } : { schema: first, name: second }
}
