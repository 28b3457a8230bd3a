/** infra/postgres/roles.sql on real servers: enough for every task, and no more than that. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, startPostgres, type Major, type TestDatabase } from '@battlescope/postgres-testing'
import { execa } from 'execa'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { infra } from './kubernetes.js'

const program = join(infra, '../apps/scheduler/bin/battlescope-scheduler.js')
const roles = readFileSync(join(infra, 'postgres/roles.sql'), 'utf8')
const login = 'battlescope_scheduler'
const password = 'of-a-test'
const tasks = ['analyze', 'cache', 'cluster', 'health', 'retention', 'statistics', 'vacuum'] as const
type Task = (typeof tasks)[number]

/** The newer line's cache table, so that the cache task has rows to look after. */
const cacheTable = `CREATE TABLE public.esi_cache (cache_key text PRIMARY KEY, cache_value jsonb, cached_at timestamptz, expires_at timestamptz);
  CREATE INDEX ON public.esi_cache (expires_at);`

/** Rows of every kind, old enough to expire and new enough to stay. */
const rows = `
  INSERT INTO public.battles (id, system_id, start_time, end_time, total_kills, zkill_related_url)
    SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 1, now() - interval '6 years', now() - interval '6 years', 2, ''
    FROM generate_series(1, 3) AS i;
  INSERT INTO public.killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url, isk_value, processed_at)
    SELECT i, 1, t.at, t.at, '', i, CASE WHEN i % 2 = 0 OR i > 10 THEN t.at END
    FROM generate_series(1, 40) AS i, LATERAL (SELECT now() - CASE WHEN i % 2 = 0 THEN interval '6 years' ELSE interval '1 day' END AS at) AS t;
  INSERT INTO public.killmail_enrichments (killmail_id, status) SELECT killmail_id, 'succeeded' FROM public.killmail_events;
  INSERT INTO public.esi_cache SELECT i::text, '{}', now(), now() + (i - 10) * interval '1 hour' FROM generate_series(1, 20) AS i;`

interface Triple {
  readonly task: Task
  readonly relation: string
  readonly privilege: string
}

async function battlescope(argv: readonly string[], environment: Readonly<Record<string, string>>) {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [program, ...argv], {
    env: environment,
    extendEnv: false,
    reject: false,
    timeout: 90_000,
  })
  return { exitCode, stdout, stderr, all: `${stdout}\n${stderr}` }
}

/** What the tasks themselves declare, by the program. */
async function declared(): Promise<readonly Triple[]> {
  const { stdout } = await battlescope(['tasks', '--json'], { SCHEDULER_TASKS: tasks.join() })
  const parsed = JSON.parse(stdout) as {
    tasks: { name: Task; requires: { relations: { relation: string; privileges: string[] }[] } }[]
  }
  const triples = parsed.tasks.flatMap(({ name, requires }) =>
    requires.relations.flatMap(({ relation, privileges }) =>
      privileges.map((privilege) => ({ task: name, relation, privilege: privilege.toUpperCase() })),
    ),
  )
  // One policy's member is another's own relation.
  return [...new Map(triples.map((triple) => [Object.values(triple).join(' '), triple])).values()]
}

describe.each<{ major: Major }>([{ major: 15 }, { major: 17 }])('roles on PostgreSQL $major', ({ major }) => {
  let server: Awaited<ReturnType<typeof startPostgres>>
  let database: TestDatabase
  let triples: readonly Triple[]
  const store = mkdtempSync(join(tmpdir(), 'battlescope-roles-'))
  const urlOf = (user: string) => {
    const url = new URL(database.url)
    url.username = user
    url.password = password
    return url.href
  }
  const environment = (user: string, ...enabled: readonly string[]) => ({
    DATABASE_URL: urlOf(user),
    SCHEDULER_TASKS: enabled.join(),
    SCHEDULER_COLD_STORAGE_URL: `file://${store}`,
    SCHEDULER_CLUSTER_TRIGGER: 'notify',
    // A few rows are enough to be due.
    SCHEDULER_VACUUM_THRESHOLD_SHARE: '0.01',
    SCHEDULER_SCHEMA: user === login ? 'scheduler' : user,
  })
  const count = async (sql: string) =>
    Number((await database.query<{ count: string }>(`SELECT count(*) ${sql}`))[0]!.count)

  beforeAll(async () => {
    triples = await declared()
    // Roles belong to the whole server: one of its own, and none that somebody else runs (which settings would not fit).
    server = await startPostgres({ major, settings: {} })
    database = await createTestDatabase({ server })
    await database.query('CREATE ROLE battlescope LOGIN')
    await database.query('GRANT CREATE ON SCHEMA public TO battlescope')
    await database.query(`SET ROLE battlescope; ${battlescopeDdl}; ${cacheTable}; ${rows}; RESET ROLE`)
    await database.query(roles)
    // A second time changes nothing, and is no error.
    await database.query(roles)
    await database.query(`ALTER ROLE ${login} PASSWORD '${password}'`)
    // For each task a login role that has its group alone.
    for (const task of tasks) {
      await database.query(`CREATE ROLE only_${task} LOGIN PASSWORD '${password}' IN ROLE ${login}_${task};
        CREATE SCHEMA only_${task} AUTHORIZATION only_${task}`)
    }
  })
  afterAll(async () => {
    await database?.drop()
    await server?.stop()
    rmSync(store, { recursive: true, force: true })
  })

  it('is enough for doctor, with every task on', async () => {
    const { exitCode, stdout } = await battlescope(['doctor', '--json'], environment(login, ...tasks))
    const checks = JSON.parse(stdout) as { check: string; result: string; detail: string }[]
    expect(checks.filter(({ result }) => result === 'fail')).toEqual([])
    expect(checks.filter(({ check }) => check.startsWith('grants of')).map(({ check }) => check)).toHaveLength(
      tasks.length,
    )
    expect(exitCode).toBe(0)
  })

  it('grants what the tasks declare, and nothing beyond', async () => {
    // By the catalog, which also knows what a role inherits from none.
    const granted = await database.query<Triple>(`
      SELECT replace(grantee, '${login}_', '') AS task, table_schema || '.' || table_name AS relation, privilege_type AS privilege
      FROM (SELECT r.rolname AS grantee, n.nspname AS table_schema, c.relname AS table_name, a.privilege_type
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a JOIN pg_roles r ON r.oid = a.grantee) AS acl
      WHERE grantee LIKE '${login}\\_%'`)
    const named = (list: readonly Triple[]) =>
      list.map(({ task, relation, privilege }) => `${task} ${relation} ${privilege}`).sort()
    const wanted = triples.filter(({ privilege }) => major >= 17 || privilege !== 'MAINTAIN')
    expect(named(granted)).toEqual(named(wanted))
    const members = await database.query<{ role: string; member: string }>(`
      SELECT roleid::regrole::text AS role, member::regrole::text AS member FROM pg_auth_members
      WHERE member::regrole::text LIKE '${login}%' ORDER BY 1, 2`)
    const groups = tasks.map((task) => ({ role: `${login}_${task}`, member: login }))
    const owners = ['analyze', 'vacuum'].map((task) => ({ role: 'battlescope', member: `${login}_${task}` }))
    const monitors = [{ role: 'pg_monitor', member: `${login}_health` }]
    expect(members).toEqual([...(major >= 17 ? [] : owners), ...groups, ...monitors])
    const [attributes] = await database.query(
      `SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = '${login}'`,
    )
    expect(Object.values(attributes!)).toEqual([false, false, false, false])
  })

  const effects: Readonly<Record<Task, () => Promise<void>>> = {
    analyze: async () => {
      expect(await count(`FROM pg_class WHERE relname = 'killmail_events' AND reltuples > 0`)).toBe(1)
    },
    cache: async () => {
      expect(await count(`FROM public.esi_cache WHERE expires_at < now() - interval '1 minute'`)).toBe(0)
      expect(await count('FROM public.esi_cache')).toBeGreaterThan(0)
    },
    cluster: async () => undefined,
    health: async () => {
      // With its grants alone no check is unknown for want of one.
      const unknown = await database.query<{ summary: string }>(
        `SELECT f ->> 'summary' AS summary FROM only_health.task_run, jsonb_array_elements(findings) AS f
         WHERE f ->> 'key' LIKE '%unknown%' AND f ->> 'summary' ~ 'grant|GRANT|SELECT on|pg_'`,
      )
      expect(unknown).toEqual([])
    },
    statistics: async () => {
      expect(await count('FROM only_statistics.statistics_by_system')).toBeGreaterThan(0)
    },
    retention: async () => {
      expect(await count(`FROM public.killmail_events WHERE occurred_at < now() - interval '60 months'`)).toBe(0)
      expect(await count('FROM public.killmail_events')).toBe(20)
      expect(await count('FROM public.killmail_enrichments')).toBe(20)
    },
    vacuum: async () => {
      expect(
        await count(`FROM pg_stat_user_tables WHERE relname = 'killmail_events' AND last_vacuum IS NOT NULL`),
      ).toBe(1)
    },
  }

  // Statistics count what retention takes away: it comes last.
  it.each([...tasks].sort((a, b) => Number(a === 'retention') - Number(b === 'retention')))(
    '%s succeeds with its own group alone',
    async (task) => {
      const { exitCode, all, stdout } = await battlescope(
        ['run', '--force', '--json'],
        environment(`only_${task}`, task),
      )
      expect(exitCode, all).toBe(0)
      const { tasks: reports } = JSON.parse(stdout) as { tasks: { name: string; run: { outcome: string } }[] }
      expect(reports.map(({ name, run }) => [name, run.outcome])).toEqual([[task, 'succeeded']])
      await effects[task]()
    },
  )

  it('is enough for a run of all of them, as the one role that logs in', async () => {
    const { exitCode, all } = await battlescope(['run', '--force'], environment(login, ...tasks))
    expect(exitCode, all).toBe(0)
    expect(await count(`FROM scheduler.task WHERE name IN ('${tasks.join("', '")}') AND ticket IS NULL`)).toBe(
      tasks.length,
    )
  })

  it('names in doctor what is missing when one grant is revoked', async () => {
    expect(triples.length).toBeGreaterThan(20)
    // On 15 and 16 one grant stands for all of analyze (and of vacuum), and doctor names one relation that shows it.
    const byOwnerOf = ({ privilege }: Triple) => privilege === 'MAINTAIN' && major < 17
    const once = triples.filter((triple) => !byOwnerOf(triple) || triple === triples.find(byOwnerOf))
    for (const triple of once) {
      const { task, relation, privilege } = triple
      const group = `${login}_${task}`
      const byOwner = byOwnerOf(triple)
      const [what, target] = byOwner ? ['battlescope', ''] : [privilege, `ON ${relation} `]
      await database.query(`REVOKE ${what} ${target}FROM ${group}`)
      const { exitCode, stdout } = await battlescope(['doctor', '--json'], environment(`only_${task}`, task))
      await database.query(`GRANT ${what} ${target}TO ${group}`)
      const checks = JSON.parse(stdout) as { check: string; result: string; detail: string; mend: string }[]
      const failed = checks.filter(({ result }) => result === 'fail')
      const [schema, name] = relation.split('.')
      expect(failed, `${task} ${relation} ${privilege}`).toContainEqual(
        expect.objectContaining({
          check: `grants of ${task}`,
          detail: expect.stringContaining(byOwner ? 'may not maintain' : `"${schema}"."${name}"`),
          mend: byOwner
            ? `GRANT battlescope TO only_${task};`
            : `GRANT ${privilege} ON "${schema}"."${name}" TO only_${task};`,
        }),
      )
      expect(failed).toHaveLength(1)
      expect(exitCode).toBe(78)
    }
  }, 240_000)

  it('names the schema, when its tables are not the role’s to use', async () => {
    await database.query('REVOKE ALL ON SCHEMA public FROM PUBLIC')
    await database.query(`REVOKE USAGE ON SCHEMA public FROM ${login}_cluster`)
    const { stdout } = await battlescope(['doctor', '--json'], environment('only_cluster', 'cluster'))
    await database.query(`GRANT USAGE ON SCHEMA public TO ${login}_cluster`)
    expect(stdout).toContain('may not use the schema public')
    // And with public closed to everybody, the roles still have what they need.
    const { exitCode, all } = await battlescope(['run', '--force'], environment('only_cluster', 'cluster'))
    expect(exitCode, all).toBe(0)
  })

  it('takes over the tables of a scheduler that ran as the owner so far', async () => {
    const before = await createTestDatabase({ server })
    try {
      await before.query(`GRANT CREATE ON SCHEMA public TO battlescope; GRANT CREATE ON DATABASE ${before.name} TO battlescope;
        ALTER ROLE battlescope PASSWORD '${password}'; SET ROLE battlescope; ${battlescopeDdl}; RESET ROLE`)
      const as = (user: string) => {
        const url = new URL(before.url)
        url.username = user
        url.password = password
        return { DATABASE_URL: url.href, SCHEDULER_TASKS: 'analyze,statistics' }
      }
      const first = await battlescope(['run'], as('battlescope'))
      expect(first.exitCode, first.all).toBe(0)
      await before.query(roles)
      const checked = await battlescope(['doctor'], as(login))
      expect(checked.exitCode, checked.all).toBe(0)
      const next = await battlescope(['run', '--force'], as(login))
      expect(next.exitCode, next.all).toBe(0)
      const [{ theirs }] = (await before.query<{ theirs: string }>(
        `SELECT count(*) AS theirs FROM pg_class WHERE relnamespace = 'scheduler'::regnamespace AND relowner <> '${login}'::regrole`,
      )) as [{ theirs: string }]
      expect(Number(theirs)).toBe(0)
      await before.query('SET ROLE battlescope; SELECT count(*) FROM scheduler.statistics_overview; RESET ROLE')
    } finally {
      await before.drop()
    }
  })

  it('is refused where it would make a superuser of the scheduler', async () => {
    if (major >= 17) return expect(roles).toContain('has_maintain')
    await database.query('ALTER TABLE public.battles OWNER TO postgres')
    await expect(database.query(roles)).rejects.toThrow('its member would be a superuser')
    await database.query('ALTER TABLE public.battles OWNER TO battlescope')
  })
})
