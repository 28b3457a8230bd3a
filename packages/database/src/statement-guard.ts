/**
 * What may be sent where. PostgreSQL's READ ONLY refuses to change rows, and no more: ANALYZE, VACUUM, NOTIFY and functions with effects
 * run in it all the same. So a reader refuses them before they are sent. What a function of the database's own does when it is called
 * cannot be seen from here; inside READ ONLY it at least changes no row.
 */
import { DatabaseError } from './database-error.js'
import { splitStatements, SqlTokenError, tokenizeSql, type SqlToken } from './sql-tokens.js'

const reads = new Set(['select', 'with', 'values', 'table'])
/** What EXPLAIN without ANALYZE only plans. */
const planned = new Set([...reads, 'insert', 'update', 'delete', 'merge'])
const explainOptions = new Set([
  'analyze',
  'analyse',
  'verbose',
  'costs',
  'settings',
  'generic_plan',
  'buffers',
  'serialize',
  'wal',
  'timing',
  'summary',
  'memory',
  'format',
])

/**
 * Functions whose effects READ ONLY does not stop: they signal other sessions, lock, notify, write files or WAL, change settings or
 * statistics, or run SQL given as text. A test holds this list against every volatile function of pg_catalog.
 */
const effectPatterns = [
  /^pg_.*_backend$/,
  /^pg_(try_)?advisory_/,
  /^pg_log_(backend_memory_contexts|standby_snapshot)$/,
  /^pg_notify$/,
  /^pg_promote$/,
  /^pg_(reload_conf|rotate_logfile(_old)?)$/,
  /^pg_(switch_wal|create_restore_point|wal_replay_(pause|resume)|sync_replication_slots)$/,
  /^pg_(start|stop)_backup$|^pg_backup_(start|stop)$/,
  /^pg_logical_(emit_message|slot_.*)$/,
  /^pg_((create|copy)_(logical|physical)_replication_slot|drop_replication_slot|replication_slot_advance)$/,
  /^pg_replication_origin_(advance|create|drop|session_reset|session_setup|xact_reset|xact_setup)$/,
  /^pg_stat_(reset.*|statements_reset|force_next_flush)$/,
  /^pg_(import_.*|extension_config_dump|nextoid|stop_making_pinned_objects|file_.*)$/,
  /^pg_stat_clear_snapshot$/,
  /^binary_upgrade_/,
  /^(brin_(de)?summarize_.*|gin_clean_pending_list)$/,
  /^dblink/,
  /^(lo_.*|loread|lowrite)$/,
  /^(nextval|setval|setseed|set_config)$/,
  /^(query|cursor)_to_xml.*$|^ts_(stat|rewrite)$/,
]

export function hasEffects(functionName: string): boolean {
  return effectPatterns.some((pattern) => pattern.test(functionName))
}

/** Texts that were found fit, at most: values are parameters, so a task repeats a handful of texts, whatever it does. */
const mostRemembered = 200
/** Longer ones hold values, as COPY does, and do not come again. */
const longestRemembered = 8 * 1024

/** To read a statement of a kilobyte takes half a millisecond, in which PostgreSQL deletes 20 rows: each text is read once. */
function rememberingFit(check: (sql: string) => void): (sql: string) => void {
  const fit = new Set<string>()
  return (sql) => {
    if (fit.has(sql)) return
    check(sql)
    if (sql.length > longestRemembered) return
    if (fit.size === mostRemembered) fit.clear()
    fit.add(sql)
  }
}

/** @throws DatabaseError `not-a-read` unless the text is one statement that only reads */
export const assertRead = rememberingFit((sql) => {
  const refuse = (reason: string): never => {
    throw new DatabaseError('not-a-read', `not a plain read: ${reason}: ${excerpt(sql)}`, {
      hint: 'reads are SELECT, WITH, VALUES, TABLE, SHOW and EXPLAIN, one at a time; a change belongs into an action',
    })
  }
  const statements = split(sql, refuse)
  const [statement] = statements
  if (statement === undefined) return refuse('it is empty')
  if (statements.length > 1) return refuse('several statements in one')
  const { keyword, rest } = openingKeyword(statement)
  if (keyword === 'explain') assertExplain(rest, refuse)
  else if (keyword !== 'show' && !reads.has(keyword)) return refuse(`it begins with ${keyword.toUpperCase()}`)
  assertNoEffects(statement, refuse)
})

/** @throws DatabaseError `not-in-transaction` for what would end the transaction, or outlive it on a pooled connection */
export const assertInTransaction = rememberingFit((sql) => {
  const refuse = (reason: string): never => {
    throw new DatabaseError('not-in-transaction', `${reason}: ${excerpt(sql)}`, {
      hint: 'the transaction is begun and ended for you, and its connection is shared: use SET LOCAL, and transaction-level locks',
    })
  }
  for (const statement of split(sql, refuse)) {
    const [first, second] = statement
    const keyword = first?.kind === 'word' ? first.text : ''
    const next = second?.kind === 'word' ? second.text : ''
    if (
      ['begin', 'start', 'commit', 'end', 'abort'].includes(keyword) ||
      (keyword === 'prepare' && next === 'transaction')
    ) {
      refuse(`${keyword.toUpperCase()} would end the transaction`)
    }
    if (keyword === 'rollback' && !statement.some(({ kind, text }) => kind === 'word' && text === 'to')) {
      refuse('ROLLBACK would end the transaction')
    }
    const outliving = whatOutlives(statement)
    if (outliving !== undefined) refuse(`${outliving} would outlive the transaction`)
  }
})

const sessionStatements = new Set(['reset', 'listen', 'unlisten', 'prepare', 'deallocate', 'discard', 'load'])

/** What of a statement would stay in the session, and so be found by whoever gets the pooled connection next. */
function whatOutlives(statement: readonly SqlToken[]): string | undefined {
  const words = statement.map(({ kind, text }) => (kind === 'word' ? text : ''))
  const [keyword = '', next = ''] = words
  if (sessionStatements.has(keyword)) return keyword.toUpperCase()
  if (keyword === 'set' && !['local', 'constraints', 'transaction'].includes(next)) return 'SET'
  // Even one that is dropped on commit: its schema and its caches stay, and nothing of ours needs one.
  if (createsTemporary(words)) return 'a temporary object'
  const isName = ({ kind }: SqlToken) => kind === 'word' || kind === 'name'
  if (statement.some((token, index) => isName(token) && token.text === 'pg_temp' && statement[index + 1]?.text === '.'))
    return 'an object in pg_temp'
  if (keyword === 'declare' && words.some((word, index) => word === 'with' && words[index + 1] === 'hold'))
    return 'a cursor WITH HOLD'
  // The view's rule calls set_config(…, false).
  if (keyword === 'update' && statement.some((token) => isName(token) && token.text === 'pg_settings'))
    return 'a setting changed by UPDATE pg_settings'
  for (const [index, token] of statement.entries()) {
    if (!isName(token) || statement[index + 1]?.text !== '(') continue
    if (/^pg_(try_)?advisory_lock/.test(token.text)) return token.text
    if (token.text === 'set_config' && !isLocalSetConfig(statement.slice(index + 1)))
      return 'set_config() without a literal true at its end'
  }
  return undefined
}

/** CREATE [OR REPLACE] [LOCAL] TEMP …, and SELECT … INTO TEMP …; a table may be called `temp`, so the place of the word counts. */
function createsTemporary(words: readonly string[]): boolean {
  const isTemporaryFrom = (start: number) => {
    const first = words.slice(start).find((word) => !['or', 'replace', 'local', 'global'].includes(word))
    return first === 'temp' || first === 'temporary'
  }
  if (words[0] === 'create') return isTemporaryFrom(1)
  return words.some(
    (word, at) => word === 'into' && !['insert', 'merge'].includes(words[at - 1] ?? '') && isTemporaryFrom(at + 1),
  )
}

/** @param tokens from the opening parenthesis on */
function isLocalSetConfig(tokens: readonly SqlToken[]): boolean {
  let depth = 0
  const end = tokens.findIndex(({ kind, text }) => {
    if (kind === 'symbol' && text === '(') depth += 1
    if (kind === 'symbol' && text === ')') depth -= 1
    return depth === 0
  })
  const [comma, isLocal] = tokens.slice(end - 2, end)
  return comma?.text === ',' && isLocal?.kind === 'word' && isLocal.text === 'true'
}

/** @throws DatabaseError `not-a-copy` unless the text is one COPY to the client (`out`) or from it (`in`) */
export function assertCopy(sql: string, direction: 'out' | 'in'): void {
  const form = direction === 'out' ? 'COPY … TO STDOUT' : 'COPY … FROM STDIN'
  const refuse = (reason: string): never => {
    throw new DatabaseError('not-a-copy', `not ${form}: ${reason}: ${excerpt(sql)}`, { hint: `write ${form}` })
  }
  const statements = split(sql, refuse)
  const [statement] = statements
  if (statement === undefined || statements.length > 1) return refuse('one statement is needed')
  if (openingKeyword(statement).keyword !== 'copy') return refuse('it does not begin with COPY')
  const outside = outsideParentheses(statement)
  const [border, end] = direction === 'out' ? ['to', 'stdout'] : ['from', 'stdin']
  const at = outside.findIndex(({ kind, text }) => kind === 'word' && (text === 'to' || text === 'from'))
  if (outside[at]?.text !== border || outside[at + 1]?.kind !== 'word' || outside[at + 1]?.text !== end) {
    return refuse(`${border?.toUpperCase()} ${end?.toUpperCase()} is missing`)
  }
  if (direction === 'out') assertNoEffects(statement, refuse)
}

function split(sql: string, refuse: (reason: string) => never): readonly (readonly SqlToken[])[] {
  try {
    return splitStatements(tokenizeSql(sql))
  } catch (error) {
    if (error instanceof SqlTokenError) return refuse(`it cannot be read, because of ${error.message}`)
    throw error
  }
}

/** The first keyword behind opening parentheses, and what follows it. */
function openingKeyword(tokens: readonly SqlToken[]): { readonly keyword: string; readonly rest: readonly SqlToken[] } {
  const start = tokens.findIndex(({ kind, text }) => kind !== 'symbol' || text !== '(')
  const first = tokens[start]
  // What is no word (a quoted name, a literal) must not pass for a keyword.
  const keyword = first?.kind === 'word' ? first.text : `'${first?.text ?? '('}'`
  return { keyword, rest: tokens.slice(start + 1) }
}

function assertExplain(tokens: readonly SqlToken[], refuse: (reason: string) => never): void {
  let rest = tokens
  let executes = false
  const [opening, option] = rest
  if (opening?.text === '(' && option?.kind === 'word' && explainOptions.has(option.text)) {
    const end = rest.findIndex(({ kind, text }) => kind === 'symbol' && text === ')')
    executes = rest.slice(0, end).some(({ text }) => /^analy[sz]e$/.test(text))
    rest = rest.slice(end + 1)
  } else {
    while (rest[0]?.kind === 'word' && /^(analy[sz]e|verbose)$/.test(rest[0].text)) {
      executes ||= rest[0].text !== 'verbose'
      rest = rest.slice(1)
    }
  }
  const { keyword } = openingKeyword(rest)
  if (!(executes ? reads : planned).has(keyword)) refuse(`EXPLAIN of ${keyword.toUpperCase()}`)
}

function assertNoEffects(statement: readonly SqlToken[], refuse: (reason: string) => never): void {
  for (const name of calledFunctions(statement)) if (hasEffects(name)) refuse(`it calls ${name}()`)
}

function calledFunctions(statement: readonly SqlToken[]): readonly string[] {
  return statement
    .filter(({ kind }, index) => (kind === 'word' || kind === 'name') && statement[index + 1]?.text === '(')
    .map(({ text }) => text)
}

function outsideParentheses(statement: readonly SqlToken[]): readonly SqlToken[] {
  let depth = 0
  return statement.filter(({ kind, text }) => {
    if (kind !== 'symbol') return depth === 0
    if (text === '(') depth++
    if (text === ')') depth--
    return depth === 0 && text !== ')'
  })
}

/** Enough to recognise the statement in a log. Values are parameters and not in it. */
function excerpt(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim()
  return line.length > 120 ? `${line.slice(0, 119)}…` : line
}
