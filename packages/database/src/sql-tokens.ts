/**
 * Just enough of PostgreSQL's lexer to know where statements begin and which functions they call: strings, quoted names and comments are
 * never mistaken for code. Assumes `standard_conforming_strings = on`, the default since 9.1.
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html
 */

export interface SqlToken {
  /** `word`: unquoted, in lower case; `name`: quoted, without its quotes; `literal`: a string or a parameter; `symbol`: one character. */
  readonly kind: 'word' | 'name' | 'literal' | 'symbol'
  readonly text: string
}

/** Why a text cannot be read. */
export class SqlTokenError extends Error {
  override readonly name = 'SqlTokenError'
}

const space = /\s+/y
const lineComment = /--[^\n\r]*/y
// By UTF-16 units: every one of a character beyond ASCII counts as a letter, as every byte of it does for PostgreSQL.
const word = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const number = /(?:0[xXoObB][0-9A-Fa-f_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?)/y
const parameter = /\$[0-9]+/y
const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const plainString = /'(?:[^']|'')*'/y
const escapeString = /[eE]'(?:[^'\\]|''|\\[\s\S])*'/y
const prefixedString = /[bBxXnN]'(?:[^']|'')*'/y
const unicodeEscape = /[uU]&['"]/y
/** Begin nothing else, behind comments. */
const plainSymbols = new Set(['.', ',', '(', ')', ';', ':', '=', '<', '>', '*', '+', '[', ']'])
const quotedName = /"(?:[^"]|"")*"/y

/** @throws SqlTokenError for what has no end, and for `U&` literals, which could spell any name */
export function tokenizeSql(sql: string): readonly SqlToken[] {
  const tokens: SqlToken[] = []
  let position = 0
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = position
    const found = pattern.exec(sql)?.[0]
    if (found !== undefined) position += found.length
    return found
  }
  if (sql.includes('\0')) throw new SqlTokenError('a NUL character')
  while (position < sql.length) {
    // What most of a statement consists of comes first, by its first character alone: these begin nothing else.
    const plainSymbol = sql[position] ?? ''
    if (plainSymbols.has(plainSymbol)) {
      tokens.push({ kind: 'symbol', text: plainSymbol })
      position += 1
      continue
    }
    if (!isAsciiLetter(sql.charCodeAt(position))) {
      if (match(space) ?? match(lineComment)) continue
      if (sql.startsWith('/*', position)) {
        position = endOfBlockComment(sql, position)
        continue
      }
    }
    // A letter begins a literal only with a quote, or an ampersand, behind it.
    const plainWord = isQuoteOrAmpersand(sql[position + 1]) ? undefined : match(word)
    if (plainWord !== undefined) {
      tokens.push({ kind: 'word', text: plainWord.toLowerCase() })
      continue
    }
    if (match(unicodeEscape)) throw new SqlTokenError('a U& literal: write the characters themselves')
    const literal =
      match(plainString) ?? match(escapeString) ?? match(prefixedString) ?? match(parameter) ?? match(number)
    if (literal !== undefined) {
      tokens.push({ kind: 'literal', text: literal })
      continue
    }
    const name = match(quotedName)
    if (name !== undefined) {
      tokens.push({ kind: 'name', text: name.slice(1, -1).replaceAll('""', '"') })
      continue
    }
    const tag = match(dollarTag)
    if (tag !== undefined) {
      const end = sql.indexOf(tag, position)
      if (end === -1) throw new SqlTokenError(`a string that begins with ${tag} and does not end`)
      tokens.push({ kind: 'literal', text: sql.slice(position, end) })
      position = end + tag.length
      continue
    }
    const unquoted = match(word)
    if (unquoted !== undefined) {
      tokens.push({ kind: 'word', text: unquoted.toLowerCase() })
      continue
    }
    const symbol = sql[position] ?? ''
    if (symbol === "'" || symbol === '"') throw new SqlTokenError(`a ${symbol} that has no counterpart`)
    tokens.push({ kind: 'symbol', text: symbol })
    position += 1
  }
  return tokens
}

function isAsciiLetter(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95
}

function isQuoteOrAmpersand(character: string | undefined): boolean {
  return character === "'" || character === '"' || character === '&'
}

function endOfBlockComment(sql: string, start: number): number {
  const border = /\/\*|\*\//g
  border.lastIndex = start
  let depth = 0
  for (let found = border.exec(sql); found; found = border.exec(sql)) {
    depth += found[0] === '/*' ? 1 : -1
    if (depth === 0) return border.lastIndex
  }
  throw new SqlTokenError('a comment that does not end')
}

/** The statements of a text, empty ones left out. */
export function splitStatements(tokens: readonly SqlToken[]): readonly (readonly SqlToken[])[] {
  const statements: SqlToken[][] = [[]]
  for (const token of tokens) {
    if (token.kind === 'symbol' && token.text === ';') statements.push([])
    else statements.at(-1)?.push(token)
  }
  return statements.filter((statement) => statement.length > 0)
}
