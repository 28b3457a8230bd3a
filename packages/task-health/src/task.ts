import { defineTask, type RelationRequirement, type Task } from '@battlescope/scheduler-core'
import type { AnyCheck } from './check.js'
import { checks } from './checks.js'
import { configOf, optionsOf, type healthConfig } from './config.js'
import { clientsOf, makeChecks, needsOf, type HealthContext, type Made } from './make-checks.js'
import { choose, countStates, cursorSchema, findingsIn, nextCursor, planChecks, type Cursor } from './plan.js'

/** The task that makes these checks. The program's has all of them ({@link health}); tests bring their own. */
export function healthTask(all: readonly AnyCheck[]): Task<typeof healthConfig, unknown, Cursor> {
  return defineTask({
    apiVersion: 1,
    name: 'health',
    description: 'looks at services, queues, data and database, and says what a human should know',
    schedule: { kind: 'every-run' },
    timeoutMs: 30_000,
    configSchema: configOf(all),
    checkpointSchema: cursorSchema,
    requires: (config) => {
      const needs = choose(all, (check) => optionsOf(config, check), undefined).map((chosen) => needsOf(chosen, config))
      const relations = new Set(needs.flatMap((one) => (one.relations ?? []).map(({ relation }) => relation)))
      return {
        relations: [...relations].map((relation): RelationRequirement => ({ relation, privileges: ['select'] })),
        clients: [...new Set(needs.flatMap(clientsOf))],
      }
    },
    run: async (given) => {
      const context = given as HealthContext
      const occasion = { slotId: context.slot.id, now: context.clock.now() }
      const chosen = choose(all, (check) => optionsOf(context.config, check), await context.checkpoint.load())
      const due = planChecks(chosen, occasion)
      const made = await makeChecks(context, due, occasion)
      const cursor = nextCursor(chosen, new Map(made.map(({ chosen: { check }, entry }) => [check.key, entry])))
      for (const [state, count] of Object.entries(countStates(cursor)))
        context.metrics.gauge('checks', count, { state })
      await record(context, made, occasion.now)
      await context.checkpoint.save(cursor)
      const findings = findingsIn(cursor)
      const remaining = due.length - made.length
      return remaining > 0 ? { outcome: 'partial', remaining, findings } : { outcome: 'succeeded', findings }
    },
  })
}

/** What checks keep for later comparisons: one action for all of them, and none when none has anything to write. */
async function record(context: HealthContext, made: readonly Made[], now: Date): Promise<void> {
  const recording = made.filter(
    ({ chosen, outcome }) => chosen.check.record !== undefined && outcome.outcome === 'measured',
  )
  const { stateSchema } = context
  if (recording.length === 0 || stateSchema === undefined) return
  const names = recording.map(({ chosen }) => chosen.check.key)
  await context.act(
    { kind: 'record-baselines', target: `${stateSchema}.health_baseline`, reason: `${names.length} checks` },
    async (fenced) => {
      for (const { chosen, outcome } of recording) {
        if (outcome.outcome !== 'measured') continue
        await chosen.check.record?.({ db: fenced.db, stateSchema, now }, outcome.reading, chosen.options)
      }
      return { rows: recording.length }
    },
  )
}

/** Looks at everything that BattleScope needs, in every run, and reports what a human should know. */
export const health = healthTask(checks)
