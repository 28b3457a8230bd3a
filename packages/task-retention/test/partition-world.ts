/** A relation with one partition per 30 days around the horizon, and what can be asked of it. */
import type { TestServer } from '@battlescope/scheduler-testing'
import { findLosses, rememberRows } from './conservation.js'
import { createWorld, type RunChange, type World } from './world.js'

export const events = 'public.events'

export const policy = { name: 'events', relation: events, timeColumn: 'at', keep: '1800 days', detachPartitions: true }

/** 30 days each; the horizon lies in the middle of the one with number 60, whatever the time of the day. */
const numbers = [63, 62, 61, 60, 59, 1] as const

export const beginOf = (number: number) => `date_trunc('hour', now()) - interval '${number * 30 + 15} days'`

/** 100 rows, over 25 days, so that they mostly lie in two months. */
const partitionSql = (number: number) => `
  DO $$ BEGIN EXECUTE format('CREATE TABLE public.events_m${number} PARTITION OF public.events FOR VALUES FROM (%L) TO (%L)',
    ${beginOf(number)}, ${beginOf(number)} + interval '30 days'); END $$;
  INSERT INTO public.events SELECT ${number} * 1000 + i, ${beginOf(number)} + i * interval '6 hours', 'body ' || i, i * 1.10,
    CASE WHEN i % 3 = 0 THEN ARRAY['a', NULL, i::text] END FROM generate_series(1, 100) i;`

/** One more, and its rows among those that must not be lost. */
export async function addPartition({ database }: World, number: number): Promise<void> {
  await database.query(partitionSql(number))
  await database.query(`INSERT INTO original.events SELECT * FROM public.events_m${number}`)
}

const ddl = `
  CREATE TABLE public.events (id bigint, at timestamptz NOT NULL, body text, amount numeric, tags text[], PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
${numbers.map(partitionSql).join('\n')}
  CREATE INDEX ON public.events (at);
  ANALYZE public.events;`

export interface PartitionWorld extends World {
  /** The policy with these changes, and other options. */
  go(change?: object, run?: RunChange): ReturnType<World['run']>
  goToEnd(change?: object, run?: RunChange): ReturnType<World['runToEnd']>
  /** Names of the tables `events_m…` that there are; with a star those that are partitions, with an exclamation mark pending ones. */
  tables(): Promise<readonly string[]>
  /** Live, beside as detached, or archived and deleted: each row once. */
  losses(): Promise<readonly string[]>
}

export async function createPartitionWorld({
  server,
  sql = '',
}: { readonly server?: Pick<TestServer, 'url'>; readonly sql?: string } = {}): Promise<PartitionWorld> {
  const world = await createWorld(server === undefined ? {} : { server })
  await world.database.query(ddl)
  if (sql !== '') await world.database.query(sql)
  await rememberRows(world, [events])
  const configOf = (change: object, { config, ...run }: RunChange): RunChange => ({
    ...run,
    config: { policies: [{ ...policy, ...change }], batchRows: 40, ...config },
  })
  const tables = async () => {
    const rows = await world.database.query<{ name: string }>(
      `SELECT c.relname || CASE WHEN i.inhdetachpending THEN '!' WHEN i.inhrelid IS NOT NULL THEN '*' ELSE '' END AS name
       FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
       WHERE c.relname ~ '^events_m[0-9]+$' AND c.relkind = 'r' ORDER BY c.relname DESC`,
    )
    return rows.map(({ name }) => name)
  }
  return {
    ...world,
    tables,
    go: (change = {}, run = {}) => world.run(configOf(change, run)),
    goToEnd: (change = {}, run = {}) => world.runToEnd(configOf(change, run)),
    async losses() {
      const beside = (await tables())
        .filter((name) => !name.endsWith('*'))
        .map((name) => `public.${name.replace('!', '')}`)
      return findLosses(world, [events], { [events]: beside })
    },
  }
}
