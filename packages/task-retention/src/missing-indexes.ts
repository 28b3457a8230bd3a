/** Builds the indexes whose lack preflight reports, where the configuration asks for it. */
import { codeOf } from './batch-errors.js'
import type { MissingIndex, PolicyReport } from './preflight-report.js'
import { dropIndex, runStatement, selectIsBuilding } from './queries.js'
import type { Slice } from './slice.js'

/** Milliseconds of budget below which no build is begun: one that is cancelled leaves an invalid index to drop. */
const leastBudgetMs = 10_000
/** A build that never fits into a run is not tried for ever. */
const mostTries = 3

/** The plan of this run still is the one without them: the next run finds them. */
export async function buildMissingIndexes(slice: Slice, runnable: readonly PolicyReport[]): Promise<void> {
  const { context } = slice
  if (!context.config.createMissingIndexes) return
  const missing = new Map(
    runnable.flatMap(({ warnings }) =>
      warnings.flatMap(({ index, relation }) =>
        index === undefined ? [] : [[index.sql, { index, relation }] as const],
      ),
    ),
  )
  for (const { index, relation } of missing.values()) await build(slice, relation, index)
}

async function build(slice: Slice, relation: string, index: MissingIndex): Promise<void> {
  const { context } = slice
  const { schema, name } = index
  const tries = slice.cursor.indexTries[`${schema}.${name}`] ?? 0
  if (tries >= mostTries) {
    slice.report({
      key: `index-${schema}.${name}`,
      severity: 'warning',
      summary: `the index ${name} on ${relation} could not be built in ${mostTries} runs`,
      details: { sql: index.sql, hint: 'build it by hand, without a time limit' },
    })
    return
  }
  if (context.budget.remainingMs() < leastBudgetMs) return
  if (index.invalidExists && (await selectIsBuilding(context.db, schema, name))) return
  slice.cursor = {
    ...slice.cursor,
    indexTries: { ...slice.cursor.indexTries, [`${schema}.${name}`]: tries + 1 },
  }
  await context.checkpoint.save(slice.cursor)
  try {
    await context.act({ kind: 'create-index', target: relation, reason: name, via: 'direct' }, async ({ db }) => {
      // Left by an attempt that failed: looked at again, because a session of somebody else may have begun meanwhile.
      if (index.invalidExists && !(await selectIsBuilding(db, schema, name))) await dropIndex(db, schema, name)
      await runStatement(db, index.sql)
    })
  } catch (error) {
    if (context.signal.aborted || (codeOf(error) !== '57014' && codeOf(error) !== '55P03')) throw error
    context.logger.warn({ event: 'index-not-built', index: name }, 'an index could not be built in time')
  }
}
