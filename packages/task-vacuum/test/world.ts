/** Relations in need of VACUUM, runs of the task, and what is looked at afterwards. */
import { runOneTask, type RunOneTaskOptions, type TestDatabase } from '@battlescope/scheduler-testing'
import { vacuum } from '../src/index.js'

/** A session reports its changes at most once a second. */
export const countNow = 'SELECT pg_stat_force_next_flush()'

/** Sleeps after each page: a VACUUM that is there to be met. */
export const slow = { costDelay: 100, costLimit: 1 }

export type RunOptions = Partial<Omit<RunOneTaskOptions, 'task' | 'config'>>

/** Runs the task beside its schedule, over every relation of schema `public`. */
export async function run(database: TestDatabase, config: object = {}, options: RunOptions = {}) {
  const { task } = await runOneTask({
    task: vacuum,
    databaseUrl: database.url,
    force: true,
    config: { relations: ['public.*'], ...config },
    ...options,
  })
  if (task.run === undefined) throw new Error(`did not run: ${task.reason}`)
  return task.run
}

export const targets = ({ actions }: { actions: readonly { kind: string; target: string }[] }) =>
  actions.filter(({ kind }) => kind === 'vacuum').map(({ target }) => target)

/** A table with `rows` rows of about 100 bytes, analyzed and never vacuumed; every row was updated once. */
export async function createBloated(database: TestDatabase, name: string, rows = 5000, parameters = ''): Promise<void> {
  await database.query(`
    CREATE TABLE ${name} (i int PRIMARY KEY, filler text) ${parameters};
    INSERT INTO ${name} SELECT i, repeat('x', 60) FROM generate_series(1, ${rows}) AS i;
    ANALYZE ${name};
    UPDATE ${name} SET filler = repeat('y', 60); ${countNow}`)
}

/**
 * Lets each evaluation of an index expression on the table run `statement` first, from when INSERT INTO at_index VALUES (1) is done: VACUUM
 * evaluates none, ANALYZE those of its sample.
 */
export async function createIndexThatRuns(database: TestDatabase, name: string, statement: string): Promise<void> {
  await database.query(`
    CREATE TABLE at_index (i int) WITH (autovacuum_enabled = false);
    CREATE FUNCTION at_index(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
      IF EXISTS (SELECT FROM public.at_index) THEN ${statement}; END IF; RETURN i; END $$;
    CREATE INDEX ON ${name} (at_index(i))`)
}

export async function deadRows(database: TestDatabase): Promise<Record<string, number>> {
  const rows = await database.query<{ name: string; dead: number }>(
    `SELECT relname AS name, n_dead_tup::int AS dead FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY 1`,
  )
  return Object.fromEntries(rows.map(({ name, dead }) => [name, dead]))
}

/** Asks again and again until it is so. */
export async function until(database: TestDatabase, condition: string): Promise<void> {
  for (;;) {
    const [row] = await database.query<{ met: boolean }>(`SELECT (${condition}) AS met`)
    if (row?.met === true) return
  }
}
