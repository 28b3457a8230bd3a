/** What a trace may say of a statement: its form, without anything that could be a value. */
import { SqlTokenError, tokenizeSql, type SqlToken } from './sql-tokens.js'

/** Characters. Enough to recognise a statement; what carries it has limits of its own. */
const longestSummary = 2000
const unnamed = 'STATEMENT'
/** Of which operators of several characters are made. */
const operatorCharacters = '<>=!|&~@#'

export interface StatementSummary {
  /** The first word, in capitals; `STATEMENT` where there is none. */
  readonly operation: string
  /** On one line, literals replaced by `?`; undefined for a text that cannot be read. */
  readonly text: string | undefined
}

export function summarizeStatement(sql: string): StatementSummary {
  try {
    const tokens = tokenizeSql(sql)
    const operation = tokens.find(({ kind }) => kind === 'word')?.text.toUpperCase() ?? unnamed
    return { operation, text: textOf(tokens).slice(0, longestSummary) }
  } catch (error) {
    if (error instanceof SqlTokenError) return { operation: unnamed, text: undefined }
    throw error
  }
}

function textOf(tokens: readonly SqlToken[]): string {
  let text = ''
  for (const [index, token] of tokens.entries()) {
    const before = tokens[index - 1]
    const isTight =
      before === undefined ||
      isSymbol(token, '.,;):') ||
      isSymbol(before, '(.:') ||
      (isSymbol(token, '(') && !isSymbol(before)) ||
      (isSymbol(token, operatorCharacters) && isSymbol(before, operatorCharacters))
    text += `${isTight ? '' : ' '}${shown(token)}`
  }
  return text
}

function isSymbol({ kind, text }: SqlToken, among?: string): boolean {
  return kind === 'symbol' && (among === undefined || among.includes(text))
}

function shown({ kind, text }: SqlToken): string {
  if (kind === 'name') return `"${text}"`
  if (kind !== 'literal') return text
  return /^\$\d+$/.test(text) ? text : '?'
}
