import { codeOf } from '@battlescope/database'
import { defineTask, type Finding, type RelationRequirement, type Task } from '@battlescope/scheduler-core'
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
      const context = given
      const occasion = { slotId: context.slot.id, now: context.clock.now() }
      const chosen = choose(all, (check) => optionsOf(context.config, check), await context.checkpoint.load())
      const due = planChecks(chosen, occasion)
      const made = await makeChecks(context, due, occasion)
      const cursor = nextCursor(chosen, new Map(made.map(({ chosen: { check }, entry }) => [check.key, entry])))
      for (const [state, count] of Object.entries(countStates(cursor)))
        context.metrics.gauge('checks', count, { state })
      const unsaved = await save(context, made, cursor, occasion.now)
      const findings = [...findingsIn(cursor), ...unsaved]
      const remaining = due.length - made.length
      return remaining > 0 ? { outcome: 'partial', remaining, findings } : { outcome: 'succeeded', findings }
    },
  })
}

/**
 * Saves what is known, and with it what checks keep for later comparisons: one action for all of them, none when none has anything to
 * write. A baseline that cannot be written is itself a finding, and keeps nobody from hearing of the others.
 */
async function save(
  context: HealthContext,
  made: readonly Made[],
  cursor: Cursor,
  now: Date,
): Promise<readonly Finding[]> {
  const { stateSchema } = context
  const recording = made.flatMap(({ chosen: { check, options }, outcome }) =>
    check.record === undefined || outcome.outcome !== 'measured' ? [] : [{ check, options, reading: outcome.reading }],
  )
  if (recording.length === 0) {
    await context.checkpoint.save(cursor)
    return []
  }
  try {
    await context.act(
      { kind: 'record-baselines', target: 'baselines', reason: `${recording.length} checks` },
      async (fenced) => {
        // Undefined in a dry run alone, which performs nothing.
        if (stateSchema === undefined) return { rows: 0 }
        for (const { check, options, reading } of recording) {
          await check.record?.({ db: fenced.db, stateSchema, now }, reading, options)
        }
        await fenced.saveCheckpoint(cursor)
        return { rows: recording.length }
      },
    )
    return []
  } catch (error) {
    context.signal.throwIfAborted()
    const code = codeOf(error)
    if (code === 'lost-claim') throw error
    // Once more without them. Their memory is in the cursor; what they wrote was rolled back.
    await context.checkpoint.save(cursor)
    const summary = `baselines could not be written (${code ?? 'no code'}): anomalies are not learnt from this run`
    return [{ key: 'baselines', severity: 'warning', summary }]
  }
}

/** Looks at everything that BattleScope needs, in every run, and reports what a human should know. */
export const health = healthTask(checks)
