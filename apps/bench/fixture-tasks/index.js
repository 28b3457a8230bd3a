/** Tasks that write down when they ran, under which slot and ticket, so that the database can judge. */
import { sql } from 'kysely'
import { z } from 'zod'

const configSchema = z.object({
  hold: z.number().int().min(0).default(200).describe('Milliseconds that the effect stays uncommitted.'),
})

/** @param {string} name @param {object} schedule */
const holding = (name, schedule) => ({
  apiVersion: 1,
  name,
  description: 'holds its effect for a moment',
  schedule,
  timeoutMs: 20_000,
  configSchema,
  requires: () => ({}),
  async run(context) {
    const ticket = await selectTicket(context.db, name)
    await context.act({ kind: 'hold', target: 'public.effect' }, async ({ db }) => {
      await begin(db, name, context.slot.id, ticket)
      await sql`SELECT pg_catalog.pg_sleep(${context.config.hold / 1000})`.execute(db)
      await end(db, name, context.slot.id)
    })
    return { outcome: 'succeeded' }
  },
})

/** Two effects with a pause in between, in which the process can be stopped. */
const stepwise = {
  ...holding('stress-steps', { kind: 'interval', everyMs: 3_600_000 }),
  async run(context) {
    const ticket = await selectTicket(context.db, 'stress-steps')
    for (const step of [1, 2]) {
      await context.act({ kind: 'step', target: 'public.effect', reason: `step ${step}` }, async ({ db }) => {
        await begin(db, 'stress-steps', `${context.slot.id} step ${step}`, ticket)
        await end(db, 'stress-steps', `${context.slot.id} step ${step}`)
      })
      context.logger.info({ event: 'step-done', step }, 'step done')
      if (step === 1) await context.clock.sleep(context.config.hold)
    }
    return { outcome: 'succeeded' }
  },
}

/** The ticket of this run, read once at its start: nothing in here knows whether it is still good. */
async function selectTicket(db, name) {
  const { rows } = await sql`SELECT ticket FROM scheduler.task WHERE name = ${name}`.execute(db)
  return rows[0].ticket
}

const begin = (db, name, slot, ticket) =>
  sql`INSERT INTO public.effect (task, slot, ticket, from_at)
    VALUES (${name}, ${slot}, ${ticket}, pg_catalog.clock_timestamp())`.execute(db)

const end = (db, name, slot) =>
  sql`UPDATE public.effect SET to_at = pg_catalog.clock_timestamp() WHERE task = ${name} AND slot = ${slot} AND to_at IS NULL`.execute(
    db,
  )

export default [
  holding('stress-interval', { kind: 'interval', everyMs: 3_600_000 }),
  holding('stress-cron', { kind: 'cron', expression: '0 * * * *' }),
  holding('stress-every-run', { kind: 'every-run' }),
  stepwise,
]
