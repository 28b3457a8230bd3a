/** How much the tests that have a long form do; their short form is the default. */

/** How often the test of kills kills. */
export const kills = Number(process.env['REINDEX_KILLS'] ?? 6)
/** How many indexes the estimate is held against. */
export const indexCount = Number(process.env['REINDEX_INDEXES'] ?? 40)
