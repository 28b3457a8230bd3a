/** How long each writing statement took, by the server's own log: in a run of its own, because writing the log takes time. */
import type { Copy } from './databases.js'

export interface StatementTimes {
  readonly statements: number
  readonly medianMs: number
  readonly p99Ms: number
  readonly longestMs: number
  /** Beginning of the longest one. */
  readonly longest: string
  /** Of the transactions that they are in, together: what the records of the program, which are written before, do not contain. */
  readonly commitsMs: number
}

/** To what is retained: a statement that deletes may look at holds, which lie in the scheduler's own schema. */
const writes = /^\s*(with gone as \(\s*)?(delete from|insert into|update) (?!"scheduler")/i

export async function measureStatements(copy: Copy, run: () => Promise<unknown>): Promise<StatementTimes> {
  const settings = ['log_min_duration_statement = 0', 'log_parameter_max_length = 0']
  for (const setting of settings) await copy.client.query(`ALTER DATABASE ${copy.name} SET ${setting}`)
  await run()
  await copy.client.query(`ALTER DATABASE ${copy.name} RESET ALL`)
  // The server writes it, and the server reads it: it may run as somebody else.
  const { rows } = await copy.client.query<{ ms: string; text: string }>(
    `SELECT m[1] AS ms, left(m[2], 200) AS text FROM (
       SELECT line::jsonb AS entry FROM pg_ls_logdir() f, pg_read_file(current_setting('log_directory') || '/' || f.name) content,
         regexp_split_to_table(content, E'\\n') line WHERE f.name LIKE '%.json' AND line LIKE '{%duration:%') l,
       regexp_match(entry ->> 'message', '^duration: ([0-9.]+) ms  (?:execute [^:]*|statement): (.*)$', 's') m
     WHERE entry ->> 'dbname' = $1 AND entry ->> 'application_name' <> 'bench'
     ORDER BY entry ->> 'session_id', (entry ->> 'line_num')::bigint`,
    [copy.name],
  )
  const written: { readonly ms: number; readonly text: string }[] = []
  let commitsMs = 0
  let hasWritten = false
  for (const { ms, text } of rows) {
    if (writes.test(text)) written.push({ ms: Number(ms), text })
    else if (hasWritten && /^commit/i.test(text)) commitsMs += Number(ms)
    hasWritten = writes.test(text) || (hasWritten && !/^(begin|commit|rollback)/i.test(text))
  }
  const sorted = written.sort((a, b) => a.ms - b.ms)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return {
    statements: sorted.length,
    medianMs: at(0.5)?.ms ?? NaN,
    p99Ms: at(0.99)?.ms ?? NaN,
    longestMs: at(1)?.ms ?? NaN,
    longest: (at(1)?.text ?? '').replaceAll(/\s+/g, ' ').slice(0, 90),
    commitsMs,
  }
}
