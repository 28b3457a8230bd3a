import { DatabaseError } from './database-error.js'

/** NAMEDATALEN - 1. PostgreSQL cuts longer names silently, so that two of them can become one; we refuse them. */
export const maxIdentifierBytes = 63

/**
 * A name as a quoted identifier.
 * @throws DatabaseError `identifier` for an empty name, one with NUL or a lone surrogate, and one longer than 63 bytes of UTF-8
 */
export function quoteIdentifier(name: string): string {
  assertIdentifier(name, 'name')
  return `"${name.replaceAll('"', '""')}"`
}

/** `"schema"."name"`. @throws DatabaseError `identifier` */
export function quoteRelation(schema: string, name: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`
}

/** @throws DatabaseError `identifier` unless PostgreSQL can keep the name as it is */
export function assertIdentifier(name: string, what: string): void {
  const problem = findIdentifierProblem(name)
  if (problem !== undefined) {
    throw new DatabaseError('identifier', `the ${what} ${problem}`, {
      hint: `an identifier has 1 to ${maxIdentifierBytes} bytes of UTF-8 without NUL`,
    })
  }
}

function findIdentifierProblem(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name.includes('\0')) return 'contains a NUL character'
  if (/\p{Surrogate}/u.test(name)) return 'contains half of a surrogate pair'
  const bytes = Buffer.byteLength(name)
  return bytes > maxIdentifierBytes ? `'${name}' has ${bytes} bytes` : undefined
}
