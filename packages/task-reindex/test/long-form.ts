/** How much the tests that have a long form do; their short form is the default. */

/** How often the test of kills kills. */
export const kills = Number(process.env['REINDEX_KILLS'] ?? 6)
/** Rows of the table whose index is then being rebuilt: the more, the larger a part of the run the rebuild is. */
export const killRows = Number(process.env['REINDEX_KILL_ROWS'] ?? 60_000)
/** How many indexes the estimate is held against. */
export const indexCount = Number(process.env['REINDEX_INDEXES'] ?? 40)
/** How many times the task is held against reindexdb, and on how many rows. */
export const pairCount = Number(process.env['REINDEX_PAIRS'] ?? 1)
export const rowCount = Number(process.env['REINDEX_ROWS'] ?? 20_000)
/** How many times all of its rows are updated before each pair: nearly all of the test's time. */
export const stormCount = Number(process.env['REINDEX_STORMS'] ?? 4)

export function print(...what: readonly unknown[]): void {
  process.stdout.write(`${what.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(' ')}\n`)
}
