/**
 * What preflight lets through never fails half way, and changes no row that the policies do not name: over random schemas, rows and
 * policies. The long form: `RETENTION_SCHEMAS=10000 vitest run test/preflight-property.test.ts`, with `RETENTION_SEED` for one run again.
 */
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { schema } from './preflight-schemas.js'
import { openTrials, type Trials } from './preflight-trial.js'

const asked = process.env['RETENTION_SCHEMAS']
const schemas = Number(asked ?? 150)
const seed = process.env['RETENTION_SEED']

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  let trials: Trials
  beforeAll(async () => {
    server = await startPostgres({ major })
    database = await createTestDatabase({ server })
    trials = await openTrials(database)
  })
  afterAll(async () => {
    await trials.close()
    await database.drop()
    await server.stop()
  })

  it(
    `${schemas} random schemas: what is not blocked is deleted without a refusal and without a trace elsewhere`,
    async () => {
      const seen = { invalid: 0, policies: 0, ready: 0, deleted: 0, deletingTrials: 0 }
      const codes = new Map<string, number>()
      await fc.assert(
        fc.asyncProperty(schema, async (draft) => {
          const { report, deleted, violations } = await trials.run(draft)
          if (report === undefined) seen.invalid += 1
          for (const { state, blocked, warnings } of report?.policies ?? []) {
            seen.policies += 1
            if (state === 'ready') seen.ready += 1
            for (const { code } of [...blocked, ...warnings]) codes.set(code, (codes.get(code) ?? 0) + 1)
          }
          seen.deleted += deleted
          if (deleted > 0) seen.deletingTrials += 1
          expect(violations).toEqual([])
        }),
        { numRuns: schemas, ...(seed === undefined ? {} : { seed: Number(seed) }) },
      )
      if (asked !== undefined)
        process.stdout.write(`${JSON.stringify({ ...seen, codes: Object.fromEntries(codes) })}\n`)
      // Else it would prove nothing.
      expect(seen.ready).toBeGreaterThan(seen.policies * 0.25)
      expect(seen.deletingTrials).toBeGreaterThan(schemas * 0.1)
    },
    60_000 + schemas * 1000,
  )
})
