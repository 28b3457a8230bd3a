import { startPostgres, type TestServer } from '@battlescope/scheduler-testing'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PolicyReport, PreflightReport, ProblemCode } from '../src/preflight.js'
import { createPreflightWorld, type PreflightWorld } from './preflight-world.js'

const parents = 'CREATE TABLE p (id int PRIMARY KEY, at timestamptz NOT NULL); CREATE INDEX p_at ON p (at);'
const policy = { name: 'parents', relation: 'p', timeColumn: 'at' }
const link = { columns: ['p_id'], references: ['id'] }
const child = (relation = 'c') => ({ relation, ...link })

const only = (report: PreflightReport): PolicyReport => report.policies[0]!
const codes = (problems: PolicyReport['blocked']): ProblemCode[] => problems.map(({ code }) => code)

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let server: TestServer
  let world: PreflightWorld
  beforeAll(async () => {
    server = await startPostgres({ major })
    world = await createPreflightWorld(server)
  })
  afterAll(async () => {
    await world.close()
    await server.stop()
  })

  /** What preflight says of one policy after the SQL. */
  const judge = async (sql: string, changes: object = {}): Promise<PolicyReport> => {
    await world.begin(parents + sql)
    return only(await world.report([{ ...policy, ...changes }]))
  }
  const blocked = async (sql: string, changes: object = {}) => codes((await judge(sql, changes)).blocked)
  /** Runs the mends, and says what is blocked then. */
  const mended = async ({ blocked: problems }: PolicyReport, changes: object = {}) => {
    for (const statement of problems.flatMap(({ mend }) => mend ?? [])) await world.database.query(statement)
    return codes(only(await world.report([{ ...policy, ...changes }])).blocked)
  }

  describe("BattleScope's own schema", () => {
    it('blocks nothing, and warns of the three indexes that it lacks', async () => {
      await world.begin(battlescopeDdl)
      const report = await world.report()
      expect(report.policies.map(({ policy: { name }, state, blocked: problems }) => [name, state, problems])).toEqual([
        ['killmails', 'ready', []],
        ['battles', 'ready', []],
      ])
      expect(report.policies.flatMap(({ warnings }) => warnings.map(({ code, relation }) => [code, relation]))).toEqual(
        [
          ['time-index-missing', 'public.killmail_events'],
          ['reference-index-missing', 'public.killmail_events'],
          ['time-index-missing', 'public.battles'],
        ],
      )
      expect([...report.unindexed]).toEqual(['public.killmail_events(battle_id)'])
      for (const { warnings } of report.policies) {
        for (const statement of warnings.flatMap(({ mend }) => mend ?? [])) await world.database.query(statement)
      }
      const after = await world.report()
      expect(after.policies.flatMap(({ warnings }) => warnings)).toEqual([])
      expect(after.unindexed.size).toBe(0)
    })

    it('without its battles: these are not applicable, and killmails go alone', async () => {
      await world.begin(battlescopeDdl)
      await world.database.query('DROP TABLE battles CASCADE; DROP TABLE killmail_enrichments')
      const [killmails, battles] = (await world.report()).policies
      expect(battles).toMatchObject({ state: 'not-applicable', reason: 'there is no relation public.battles' })
      expect(killmails).toMatchObject({ state: 'ready', policy: { with: undefined } })
      expect(killmails?.policy.children.map(({ relation }) => relation.name)).toEqual(['pilot_ship_history'])
      expect(codes(killmails!.warnings)).toContain('relation-missing')
    })

    it('blocks killmails together with their battles', async () => {
      await world.begin(battlescopeDdl)
      await world.database.query('CREATE TABLE notes (battle_id uuid REFERENCES battles)')
      const [killmails, battles] = (await world.report()).policies
      expect(codes(battles!.blocked)).toEqual(['refused-reference'])
      expect(codes(killmails!.blocked)).toEqual(['group-blocked'])
    })

    it('warns that battles stay while killmails are blocked', async () => {
      await world.begin(battlescopeDdl)
      await world.database.query('CREATE TABLE notes (killmail_id bigint REFERENCES killmail_events)')
      const [killmails, battles] = (await world.report()).policies
      expect(codes(killmails!.blocked)).toEqual(['refused-reference'])
      expect(battles?.state).toBe('ready')
      expect(codes(battles!.warnings)).toContain('members-blocked')
    })
  })

  describe('a foreign key that the policy does not cover', () => {
    it.each([
      ['', 'refused-reference'],
      ['ON DELETE RESTRICT', 'refused-reference'],
      ['DEFERRABLE INITIALLY DEFERRED', 'refused-reference'],
      ['ON DELETE CASCADE', 'cascading-reference'],
      ['ON DELETE SET NULL', 'emptied-reference'],
      ['ON DELETE SET DEFAULT', 'emptied-reference'],
      ['NOT VALID', 'refused-reference'],
    ])('%s blocks it: %s', async (action, code) => {
      const report = await judge(
        `CREATE TABLE x (p_id int); ALTER TABLE x ADD CONSTRAINT x_fk FOREIGN KEY (p_id) REFERENCES p ${action}`,
      )
      expect(codes(report.blocked)).toEqual([code])
      expect(report.blocked[0]).toMatchObject({
        relation: 'public.x',
        mend: ['ALTER TABLE "public"."x" DROP CONSTRAINT "x_fk"'],
      })
      expect(await mended(report)).toEqual([])
    })

    it.each(['children', 'members'])('does not, when its relation is among the %s', async (role) => {
      const report = await judge('CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL)', {
        [role]: [child()],
      })
      expect(report.blocked).toEqual([])
      expect(report.warnings).toMatchObject([{ code: 'reference-index-missing', per: 'batch' }])
    })

    it('blocks it although its relation is a child by other columns', async () => {
      const sql = 'CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p, other int REFERENCES p)'
      expect(await blocked(sql, { children: [child()] })).toEqual(['refused-reference'])
    })

    it('is covered by a link of some of its columns, and not by one of more', async () => {
      await world.begin(`CREATE TABLE p (id int PRIMARY KEY, tenant int, at timestamptz, UNIQUE (tenant, id));
        CREATE TABLE c (id int PRIMARY KEY, t int, p_id int, FOREIGN KEY (t, p_id) REFERENCES p (tenant, id))`)
      const blockedWith = async (columns: string[], references: string[]) =>
        codes(only(await world.report([{ ...policy, children: [{ relation: 'c', columns, references }] }])).blocked)
      expect(await blockedWith(['p_id'], ['id'])).toEqual([])
      expect(await blockedWith(['p_id', 't'], ['id', 'tenant'])).toEqual([])
      await world.database.query('ALTER TABLE p ADD x int; ALTER TABLE c ADD x int')
      expect(await blockedWith(['p_id', 't', 'x'], ['id', 'tenant', 'x'])).toEqual(['refused-reference'])
    })

    it('of the relation to itself blocks it, unless rows that others point to stay', async () => {
      const sql = 'ALTER TABLE p ADD p_id int REFERENCES p ON DELETE CASCADE'
      expect(await blocked(sql)).toEqual(['cascading-reference'])
      expect(await blocked(sql, { members: [child('p')] })).toEqual([])
    })

    it('from the parent to its child blocks it', async () => {
      const sql = `CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p);
        ALTER TABLE p ADD favourite int REFERENCES c ON DELETE SET NULL`
      expect(await blocked(sql, { children: [child()] })).toEqual(['emptied-reference'])
    })

    it('to a child blocks it', async () => {
      const sql = `CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p); CREATE TABLE g (c_id int REFERENCES c)`
      const report = await judge(sql, { children: [child()] })
      expect(codes(report.blocked)).toEqual(['refused-reference'])
      expect(report.blocked[0]?.hint).toContain('a child has no children of its own')
    })

    it('between children puts one before the other, when it leads to the same parent', async () => {
      const sql = `CREATE TABLE c (p_id int REFERENCES p, n int, PRIMARY KEY (p_id, n));
        CREATE TABLE d (id int PRIMARY KEY, p_id int, n int, FOREIGN KEY (p_id, n) REFERENCES c)`
      const report = await judge(sql, { children: [child('c'), child('d')] })
      expect(report.blocked).toEqual([])
      expect(report.policy.children.map(({ relation }) => relation.name)).toEqual(['d', 'c'])
    })

    it('between children blocks it, when it may lead to another parent', async () => {
      const sql = `CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p);
        CREATE TABLE d (id int PRIMARY KEY, p_id int REFERENCES p, c_id int REFERENCES c)`
      expect(await blocked(sql, { children: [child('c'), child('d')] })).toEqual(['refused-reference'])
    })

    it.each([
      ['CASCADE', true, 'cascading-reference'],
      ['SET NULL', true, 'emptied-reference'],
      ['CASCADE', false, undefined],
      ['SET NULL', false, 'emptied-reference'],
    ])(
      'between children, ON DELETE %s, archive %s: blocks it unless both point to the parent',
      async (action, archive, code) => {
        const sql = (reference: string) => `CREATE TABLE c (p_id int REFERENCES p, n int, PRIMARY KEY (p_id, n));
        CREATE TABLE d (id int PRIMARY KEY, p_id int ${reference}, n int, FOREIGN KEY (p_id, n) REFERENCES c ON DELETE ${action})`
        const children = [child('c'), child('d')]
        expect(await blocked(sql(''), { children, archive })).toEqual(code === undefined ? [] : [code])
        expect(await blocked(sql('REFERENCES p'), { children, archive })).toEqual([])
      },
    )

    it.each([
      ['CASCADE', true, 'cascading-reference'],
      ['SET NULL', true, 'emptied-reference'],
      ['CASCADE', false, undefined],
      ['SET NULL', false, 'emptied-reference'],
      ['NO ACTION', true, undefined],
    ])('that does not look when a row comes, ON DELETE %s, archive %s: %s', async (action, archive, code) => {
      const sql = `CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE ${action}); ALTER TABLE c DISABLE TRIGGER ALL`
      expect(await blocked(sql, { children: [child()], archive })).toEqual(code === undefined ? [] : [code])
    })

    it('of one partition keeps no late row of another one away', async () => {
      const sql = (holder: string) => `CREATE TABLE c (p_id int REFERENCES p, n int, PRIMARY KEY (p_id, n));
        CREATE TABLE d (id int, p_id int, n int, PRIMARY KEY (id), FOREIGN KEY (p_id, n) REFERENCES c ON DELETE CASCADE) PARTITION BY LIST (id);
        CREATE TABLE d1 PARTITION OF d FOR VALUES IN (1); CREATE TABLE d2 PARTITION OF d FOR VALUES IN (2);
        ALTER TABLE ${holder} ADD FOREIGN KEY (p_id) REFERENCES p`
      const children = [child('c'), child('d')]
      expect(await blocked(sql('d1'), { children })).toEqual(['cascading-reference'])
      expect(await blocked(sql('d'), { children })).toEqual([])
    })

    it('says whether its triggers fire', async () => {
      await world.begin(`CREATE TABLE p (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
        CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p)`)
      const enforced = async () =>
        (await world.facts([{ ...policy, children: [child()] }])).references.map(({ isEnforced }) => isEnforced)
      expect(await enforced()).toEqual([true])
      await world.database.query('ALTER TABLE p1 DISABLE TRIGGER ALL')
      expect(await enforced()).toEqual([false])
      await world.database.query('ALTER TABLE p1 ENABLE TRIGGER ALL; ALTER TABLE c DISABLE TRIGGER ALL')
      expect(await enforced()).toEqual([false])
    })

    it('between children in a circle blocks it', async () => {
      const sql = `CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p, UNIQUE (p_id, id));
        CREATE TABLE d (id int PRIMARY KEY, p_id int, c_id int, FOREIGN KEY (p_id, c_id) REFERENCES c (p_id, id), UNIQUE (p_id, id));
        ALTER TABLE c ADD d_id int, ADD FOREIGN KEY (p_id, d_id) REFERENCES d (p_id, id)`
      expect(new Set(await blocked(sql, { children: [child('c'), child('d')] }))).toEqual(new Set(['child-order']))
    })

    it('of a partition alone is seen', async () => {
      const sql = `CREATE TABLE x (p_id int) PARTITION BY LIST (p_id); CREATE TABLE x1 PARTITION OF x FOR VALUES IN (1);
        ALTER TABLE x1 ADD FOREIGN KEY (p_id) REFERENCES p`
      const report = await judge(sql)
      expect(report.blocked).toMatchObject([{ code: 'refused-reference', relation: 'public.x1' }])
      expect(codes(only(await world.report([{ ...policy, members: [child('x')] }])).blocked)).toEqual([])
      expect(codes(only(await world.report([{ ...policy, members: [child('x1')] }])).blocked)).toEqual([])
    })

    it('of a partitioned relation is one, and a partition of it covers only a part', async () => {
      const sql = `CREATE TABLE x (p_id int REFERENCES p) PARTITION BY LIST (p_id); CREATE TABLE x1 PARTITION OF x FOR VALUES IN (1)`
      expect((await judge(sql)).blocked).toMatchObject([{ code: 'refused-reference', relation: 'public.x' }])
      expect(await blocked(sql, { members: [child('x1')] })).toEqual(['refused-reference'])
      expect(await blocked(sql, { members: [child('x')] })).toEqual([])
    })

    it('to a partition alone is seen', async () => {
      await world.begin(`CREATE TABLE p (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE x (p_id int REFERENCES p1); CREATE TABLE y (p_id int REFERENCES p)`)
      expect(only(await world.report([policy])).blocked.map(({ relation }) => relation)).toEqual([
        'public.x',
        'public.y',
      ])
    })
  })

  describe('an index', () => {
    const c = 'CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p, b bool);'
    const warned = async (sql: string) => codes((await judge(c + sql, { children: [child()] })).warnings)

    it.each([
      ['CREATE INDEX ON c (p_id)'],
      ['CREATE INDEX ON c (p_id, b)'],
      ['CREATE INDEX ON c (p_id) WHERE p_id IS NOT NULL'],
      ['CREATE INDEX ON c USING hash (p_id)'],
      ['CREATE UNIQUE INDEX ON c (p_id) INCLUDE (b)'],
    ])('serves: %s', async (sql) => {
      expect(await warned(sql)).toEqual([])
    })

    it.each([
      ['CREATE INDEX ON c (b, p_id)'],
      ['CREATE INDEX ON c (p_id) WHERE b'],
      ['CREATE INDEX ON c (p_id) WHERE p_id IS NOT NULL AND b'],
      ['CREATE INDEX ON c (p_id) WHERE b IS NOT NULL'],
      ['CREATE INDEX ON c ((p_id + 0))'],
      ['CREATE INDEX ON c USING brin (p_id)'],
      [`CREATE INDEX i ON c (p_id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass`],
    ])('does not: %s', async (sql) => {
      expect(await warned(sql)).toEqual(['reference-index-missing'])
    })

    it('that is missing comes with its price and its statement, which mends it', async () => {
      const report = await judge(
        `CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p, filler text);
         INSERT INTO p SELECT i, now() FROM generate_series(1, 100) i;
         INSERT INTO c SELECT i, 1 + i % 100, repeat('x', 500) FROM generate_series(1, 20000) i; ANALYZE`,
        { children: [child()] },
      )
      const [warning] = report.warnings
      expect(warning).toMatchObject({
        code: 'reference-index-missing',
        per: 'batch',
        mend: ['CREATE INDEX CONCURRENTLY "c_p_id_idx" ON "public"."c" ("p_id") WHERE "p_id" IS NOT NULL'],
        index: { schema: 'public', name: 'c_p_id_idx', invalidExists: false },
      })
      // 11 MB, a thousand times.
      expect(warning?.predictedMs).toBeGreaterThan(3000)
      expect(warning?.predictedMs).toBeLessThan(5000)
      await world.database.query(warning!.index!.sql)
      expect(only(await world.report([{ ...policy, children: [child()] }])).warnings).toEqual([])
    })

    it('that a failed build left invalid is to be dropped first; a valid one of that name is not', async () => {
      const report = await judge(
        `${c} CREATE INDEX c_p_id_idx ON c (p_id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'c_p_id_idx'::regclass`,
        {
          children: [child()],
        },
      )
      expect(report.warnings).toMatchObject([
        {
          index: { name: 'c_p_id_idx', invalidExists: true },
          mend: [
            'DROP INDEX CONCURRENTLY "public"."c_p_id_idx"',
            expect.stringMatching(/^CREATE INDEX CONCURRENTLY "c_p_id_idx" /),
          ],
        },
      ])
      const other = await judge(`${c} CREATE INDEX c_p_id_idx ON c (b)`, { children: [child()] })
      expect(other.warnings).toMatchObject([{ index: { name: 'c_p_id_idx1', invalidExists: false } }])
    })

    it('of a partitioned relation cannot be built concurrently', async () => {
      const report = await judge(
        `CREATE TABLE c (id int PRIMARY KEY, p_id int NOT NULL REFERENCES p) PARTITION BY HASH (id); CREATE TABLE c0 PARTITION OF c FOR VALUES WITH (MODULUS 1, REMAINDER 0)`,
        { children: [child()] },
      )
      expect(report.warnings).toMatchObject([{ mend: ['CREATE INDEX "c_p_id_idx" ON "public"."c" ("p_id")'] }])
      expect(report.warnings[0]).not.toHaveProperty('index')
      await world.database.query(report.warnings[0]!.mend![0]!)
      expect(only(await world.report([{ ...policy, children: [child()] }])).warnings).toEqual([])
    })

    it.each([
      ['CREATE INDEX ON t (at, id)', []],
      ['CREATE INDEX ON t (at DESC)', []],
      ['CREATE INDEX ON t USING brin (at)', []],
      ['CREATE INDEX ON t (at) WHERE at IS NOT NULL', []],
      ['CREATE INDEX ON t (id, at)', ['time-index-missing']],
      [`CREATE INDEX ON t (at) WHERE at > '2020-01-01'`, ['time-index-missing']],
    ])('on the time column: %s', async (sql, expected) => {
      await world.begin(`CREATE TABLE t (id int PRIMARY KEY, at timestamptz); ${sql}`)
      expect(codes(only(await world.report([{ ...policy, relation: 't' }])).warnings)).toEqual(expected)
    })

    it('has a name that fits, however long the names are', async () => {
      const long = 'ä'.repeat(30)
      await world.begin(`CREATE TABLE "${long}" (id int PRIMARY KEY, "${long}x" timestamptz)`)
      const report = only(await world.report([{ name: 'long', relation: `"${long}"`, timeColumn: `${long}x` }]))
      expect(Buffer.byteLength(report.warnings[0]!.index!.name)).toBeLessThanOrEqual(63)
      await world.database.query(report.warnings[0]!.mend![0]!)
      expect(
        only(await world.report([{ name: 'long', relation: `"${long}"`, timeColumn: `${long}x` }])).warnings,
      ).toEqual([])
    })
  })

  describe('the relation', () => {
    it.each([
      ['CREATE TABLE q (id int, at timestamptz)', 'key-missing'],
      ['CREATE VIEW q AS SELECT * FROM p', 'not-a-table'],
      ['CREATE MATERIALIZED VIEW q AS SELECT * FROM p', 'not-a-table'],
      ['CREATE SEQUENCE q', 'not-a-table'],
      [
        'DROP FOREIGN DATA WRAPPER IF EXISTS w CASCADE; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER f FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE q (id int, at timestamptz) SERVER f',
        'not-a-table',
      ],
      ['CREATE TABLE q (id int PRIMARY KEY, at timestamptz); CREATE TABLE q2 () INHERITS (q)', 'inheritance'],
      ['CREATE TABLE q0 (id int, at timestamptz); CREATE TABLE q (PRIMARY KEY (id)) INHERITS (q0)', 'inheritance'],
      [
        'CREATE TABLE q0 (id int PRIMARY KEY, at timestamptz) PARTITION BY HASH (id); CREATE TABLE q PARTITION OF q0 FOR VALUES WITH (MODULUS 1, REMAINDER 0)',
        'is-partition',
      ],
    ])('%s', async (sql, code) => {
      await world.begin(parents + sql)
      const report = only(await world.report([{ ...policy, relation: 'q' }]))
      expect(codes(report.blocked)).toEqual([code])
      if (code === 'key-missing') {
        await world.database.query(report.blocked[0]!.mend![0]!)
        expect(only(await world.report([{ ...policy, relation: 'q' }])).blocked).toEqual([])
      }
    })

    it('is judged as a child the same', async () => {
      expect(await blocked('CREATE TABLE c (p_id int REFERENCES p)', { children: [child()] })).toEqual(['key-missing'])
    })

    it('as a partitioned one warns, and says how it is partitioned', async () => {
      await world.begin(`CREATE TABLE p (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'); CREATE TABLE pd PARTITION OF p DEFAULT; CREATE INDEX ON p (at);
        INSERT INTO p SELECT i, '2020-05-05' FROM generate_series(1, 50) i; ANALYZE`)
      const report = only(await world.report([{ ...policy, detachPartitions: true }]))
      expect(report).toMatchObject({
        state: 'ready',
        warnings: [
          {
            code: 'partitioned',
            summary: expect.stringMatching(
              /^public\.p is partitioned: it has 2 partitions; rows go one by one, because .* default partition/,
            ) as string,
          },
        ],
        partitioning: { count: 2, hasDefault: true, isReferenced: false },
      })
      const facts = (await world.facts([policy])).relations.get('public.p')
      expect(facts).toMatchObject({ estimatedRows: 50, heapBytes: 8192 })
    })

    it('in another schema, with odd names, is the one that is meant', async () => {
      await world.begin(
        `${parents} CREATE SCHEMA other; CREATE TABLE other."P.x""y" (id int PRIMARY KEY, "At" timestamptz)`,
      )
      const report = only(await world.report([{ name: 'odd', relation: 'other."P.x""y"', timeColumn: 'At' }]))
      expect(report).toMatchObject({ state: 'ready', warnings: [{ code: 'time-index-missing' }] })
      expect([...report.keys]).toEqual([['other."P.x""y"', [{ name: 'id', type: 'integer' }]]])
    })
  })

  describe('a column', () => {
    it('that does not exist blocks it', async () => {
      const sql = 'CREATE TABLE c (id int PRIMARY KEY)'
      const report = await judge(sql, {
        timeColumn: 'when',
        keepWhile: [
          { column: 'done', is: 'null' },
          { column: 'seen', within: '1 day' },
        ],
        children: [{ relation: 'c', columns: ['p_id'], references: ['no'] }],
      })
      expect(report.blocked.map(({ summary }) => summary)).toEqual([
        'public.p has no column when',
        'public.p has no column done',
        'public.p has no column seen',
        'public.c has no column p_id',
        'public.p has no column no',
        'public.p (no) is not unique: rows of public.c may belong to several rows, and would go with the first',
      ])
    })

    it.each([
      ['timestamp', true],
      ['date', true],
      ['bigint', false],
    ])('of the type %s is no time', async (type, mends) => {
      await world.begin(`CREATE TABLE p (id int PRIMARY KEY, at ${type})`)
      const report = only(await world.report([policy]))
      expect(codes(report.blocked)).toEqual(['column-type'])
      expect(report.blocked[0]?.mend !== undefined).toBe(mends)
      if (mends) expect(await mended(report)).toEqual([])
    })

    it('of a domain over timestamptz is one', async () => {
      await world.begin(
        'CREATE DOMAIN instant AS timestamptz; CREATE DOMAIN moment AS instant; CREATE TABLE p (id int PRIMARY KEY, at moment)',
      )
      expect(only(await world.report([policy])).blocked).toEqual([])
      await world.database.query('DROP TABLE p; DROP DOMAIN moment, instant')
    })

    it('that cannot be compared with what it points to blocks it', async () => {
      expect(await blocked('CREATE TABLE c (id int PRIMARY KEY, p_id uuid)', { children: [child()] })).toEqual([
        'column-type',
      ])
      expect(await blocked('CREATE TABLE c (id int PRIMARY KEY, p_id bigint)', { children: [child()] })).toEqual([])
    })

    it('that another collation compares than what it points to blocks it, where one takes different texts for equal', async () => {
      const odd = `CREATE COLLATION odd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`
      const sql = (own: string, other: string) =>
        `${odd}; ALTER TABLE p ADD name text ${own} UNIQUE; CREATE TABLE c (id int PRIMARY KEY, p_name text ${other})`
      const children = [{ relation: 'c', columns: ['p_name'], references: ['name'] }]
      expect(await blocked(sql('COLLATE odd', ''), { children })).toEqual(['column-type'])
      expect(await blocked(sql('', 'COLLATE odd'), { children })).toEqual(['column-type'])
      expect(await blocked(sql('COLLATE odd', 'COLLATE odd'), { children })).toEqual([])
      expect(await blocked(sql('COLLATE "C"', 'COLLATE "POSIX"'), { children })).toEqual([])
    })

    it('that children point to must be unique', async () => {
      const sql = 'ALTER TABLE p ADD name text; CREATE TABLE c (id int PRIMARY KEY, p_name text)'
      const children = [{ relation: 'c', columns: ['p_name'], references: ['name'] }]
      const report = await judge(sql, { children })
      expect(codes(report.blocked)).toEqual(['child-not-unique'])
      expect(await mended(report, { children })).toEqual([])
    })
  })

  describe('triggers and rules', () => {
    const f = `CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';`

    it.each([['BEFORE DELETE ON p FOR EACH ROW'], ['AFTER INSERT OR DELETE ON p FOR EACH STATEMENT']])(
      '%s blocks it, unless the policy allows it',
      async (when) => {
        const sql = `${f} CREATE TRIGGER t ${when} EXECUTE FUNCTION f()`
        const report = await judge(sql)
        expect(codes(report.blocked)).toEqual(['delete-trigger'])
        expect(await mended(report)).toEqual([])
        const allowed = await judge(sql, { allowTriggers: true })
        expect([codes(allowed.blocked), codes(allowed.warnings)]).toEqual([[], ['delete-trigger']])
      },
    )

    it.each([
      ['CREATE TRIGGER t BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION f()'],
      ['CREATE TRIGGER t AFTER DELETE ON p EXECUTE FUNCTION f(); ALTER TABLE p DISABLE TRIGGER t'],
      ['CREATE TRIGGER t AFTER DELETE ON p EXECUTE FUNCTION f(); ALTER TABLE p ENABLE REPLICA TRIGGER t'],
    ])('%s does not', async (sql) => {
      expect(await blocked(f + sql)).toEqual([])
    })

    it('of a child, and of one partition, count too, each once', async () => {
      const c =
        'CREATE TABLE c (id int PRIMARY KEY, p_id int) PARTITION BY HASH (id); CREATE TABLE c0 PARTITION OF c FOR VALUES WITH (MODULUS 1, REMAINDER 0);'
      const all = await judge(`${f}${c} CREATE TRIGGER t AFTER DELETE ON c FOR EACH ROW EXECUTE FUNCTION f()`, {
        children: [child()],
      })
      expect(all.blocked.map(({ summary }) => summary)).toEqual([
        expect.stringContaining('the trigger t fires on DELETE on public.c:'),
      ])
      const one = await judge(`${f}${c} CREATE TRIGGER t AFTER DELETE ON c0 FOR EACH ROW EXECUTE FUNCTION f()`, {
        children: [child()],
      })
      expect(one.blocked.map(({ summary }) => summary)).toEqual([expect.stringContaining('on public.c0:')])
      expect(await mended(one, { children: [child()] })).toEqual([])
    })

    it('a rule on DELETE blocks it', async () => {
      const report = await judge('CREATE RULE "r 1" AS ON DELETE TO p DO INSTEAD NOTHING')
      expect(codes(report.blocked)).toEqual(['delete-rule'])
      expect(await mended(report)).toEqual([])
    })
  })

  describe('what a foreign key sends to a relation of which no row is left', () => {
    const f = `CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''seen''; END';`
    const m = (action: string) =>
      `INSERT INTO p VALUES (1, now()); CREATE TABLE m (id int, p_id int REFERENCES p ${action});`

    it.each([
      ['ON DELETE CASCADE', 'CREATE PUBLICATION pub FOR TABLE m', true],
      ['ON DELETE SET NULL', 'CREATE PUBLICATION pub FOR TABLE m', true],
      ['ON DELETE SET NULL', `CREATE PUBLICATION pub FOR TABLE m WITH (publish = 'delete')`, false],
      ['', 'CREATE PUBLICATION pub FOR TABLE m', false],
      ['ON DELETE CASCADE', 'CREATE RULE r AS ON DELETE TO m DO INSTEAD NOTHING', true],
      ['ON DELETE SET DEFAULT', 'CREATE RULE r AS ON UPDATE TO m DO INSTEAD NOTHING', true],
      ['ON DELETE CASCADE', 'CREATE RULE r AS ON UPDATE TO m DO INSTEAD NOTHING', false],
      ['ON DELETE CASCADE', 'CREATE TRIGGER t BEFORE DELETE ON m EXECUTE FUNCTION f()', true],
      ['ON DELETE SET NULL', 'CREATE TRIGGER t AFTER UPDATE ON m EXECUTE FUNCTION f()', true],
      ['ON DELETE SET NULL', 'CREATE TRIGGER t AFTER UPDATE ON m FOR EACH ROW EXECUTE FUNCTION f()', false],
      ['ON DELETE SET NULL', 'CREATE TRIGGER t AFTER DELETE ON m EXECUTE FUNCTION f()', false],
      ['ON DELETE RESTRICT', 'CREATE TRIGGER t BEFORE DELETE OR UPDATE ON m EXECUTE FUNCTION f()', false],
    ])('%s, %s: refused %s', async (action, sql, expected) => {
      await world.database.query('DROP PUBLICATION IF EXISTS pub')
      const report = await judge(f + m(action) + sql, { members: [child('m')] })
      expect(codes(report.blocked)).toEqual(expected ? ['reference-effect'] : [])
      // PostgreSQL agrees: there is no row in m.
      const refused = await world.database.query('BEGIN; DELETE FROM p').then(
        () => false,
        () => true,
      )
      await world.database.query('ROLLBACK')
      expect(refused).toBe(expected)
      if (!sql.includes('PUBLICATION')) expect(await mended(report, { members: [child('m')] })).toEqual([])
      await world.database.query('DROP PUBLICATION IF EXISTS pub')
    })
  })

  describe('what the role may', () => {
    const role = (attributes = '') => world.database.createRole({ attributes })

    it('must be SELECT, UPDATE and DELETE for the relation, SELECT and DELETE for children, SELECT for members', async () => {
      const { name, url } = await role()
      await world.begin(`${parents} CREATE TABLE c (id int PRIMARY KEY, p_id int); CREATE TABLE m (p_id int)`)
      const policies = [{ ...policy, children: [child('c')], members: [child('m')] }]
      const report = only(await world.report(policies, url))
      expect(report.blocked.map(({ summary }) => summary)).toEqual([
        'our role lacks SELECT, UPDATE, DELETE on public.p',
        'our role lacks SELECT, DELETE on public.c',
        'our role lacks SELECT on public.m',
      ])
      for (const statement of report.blocked.flatMap(({ mend }) => mend ?? []))
        await world.database.query(statement.replace('CURRENT_USER', name))
      expect(only(await world.report(policies, url)).blocked).toEqual([])
      await world.database.query(`REVOKE UPDATE ON p FROM ${name}; GRANT UPDATE (at) ON p TO ${name}`)
      expect(only(await world.report(policies, url)).blocked).toEqual([])
      await world.database.query(`REVOKE USAGE ON SCHEMA public FROM PUBLIC; REVOKE DELETE ON p FROM ${name}`)
      expect(only(await world.report([policy], url)).blocked).toMatchObject([
        {
          code: 'not-permitted',
          summary: 'our role lacks USAGE of its schema, DELETE on public.p',
          mend: ['GRANT USAGE ON SCHEMA "public" TO CURRENT_USER', 'GRANT DELETE ON "public"."p" TO CURRENT_USER'],
        },
      ])
    })

    it('is not hidden by row-level security: superusers, BYPASSRLS and owners see all', async () => {
      const [plain, bypassing, owner] = [await role(), await role('BYPASSRLS'), await role()]
      await world.begin(`${parents} CREATE TABLE m (p_id int); ALTER TABLE m ENABLE ROW LEVEL SECURITY;
        GRANT ALL ON p, m TO PUBLIC; ALTER TABLE m OWNER TO ${owner.name}`)
      const policies = [{ ...policy, members: [child('m')] }]
      const codesFor = async (url: string) => codes(only(await world.report(policies, url)).blocked)
      expect(await codesFor(plain.url)).toEqual(['row-security'])
      expect(await codesFor(bypassing.url)).toEqual([])
      expect(await codesFor(world.database.url)).toEqual([])
      expect(await codesFor(owner.url)).toEqual([])
      await world.database.query('ALTER TABLE m FORCE ROW LEVEL SECURITY')
      expect(await codesFor(owner.url)).toEqual(['row-security'])
      expect(await codesFor(world.database.url)).toEqual([])
      await world.begin('')
    })
  })

  describe('a publication of deletes', () => {
    /** Whether preflight sees what PostgreSQL does to a DELETE. */
    const refuses = async (sql: string) => {
      await world.database.query('DROP PUBLICATION IF EXISTS pub')
      const report = await judge(sql)
      const refused = await world.database.query('DELETE FROM p WHERE false').then(
        () => false,
        (error: unknown) => ['55000', '42P10'].includes((error as { code: string }).code),
      )
      expect(codes(report.blocked)).toEqual(refused ? ['replica-identity'] : [])
      const other = refused ? await mended(report) : []
      await world.database.query('DROP PUBLICATION IF EXISTS pub')
      return [refused, other.length === 0]
    }

    it.each([
      ['CREATE PUBLICATION pub FOR TABLE p', false],
      ['CREATE PUBLICATION pub FOR TABLE p; ALTER TABLE p REPLICA IDENTITY NOTHING', true],
      ['CREATE PUBLICATION pub FOR ALL TABLES; ALTER TABLE p REPLICA IDENTITY NOTHING', true],
      ['CREATE PUBLICATION pub FOR TABLES IN SCHEMA public; ALTER TABLE p REPLICA IDENTITY NOTHING', true],
      [
        `CREATE PUBLICATION pub FOR TABLE p WITH (publish = 'insert, update'); ALTER TABLE p REPLICA IDENTITY NOTHING`,
        false,
      ],
      ['CREATE PUBLICATION pub FOR TABLE p; ALTER TABLE p REPLICA IDENTITY FULL', false],
      [
        'CREATE UNIQUE INDEX u ON p (at); ALTER TABLE p REPLICA IDENTITY USING INDEX u; CREATE PUBLICATION pub FOR TABLE p',
        false,
      ],
      [
        'CREATE UNIQUE INDEX u ON p (at); ALTER TABLE p REPLICA IDENTITY USING INDEX u; DROP INDEX u; CREATE PUBLICATION pub FOR TABLE p',
        true,
      ],
      [`ALTER TABLE p ADD x int; CREATE PUBLICATION pub FOR TABLE p WHERE (id > 1)`, false],
      [
        `ALTER TABLE p ADD x int; CREATE PUBLICATION pub FOR TABLE p WHERE (x > 1); ALTER TABLE p REPLICA IDENTITY FULL`,
        false,
      ],
      [`ALTER TABLE p ADD x int; CREATE PUBLICATION pub FOR TABLE p (id, x)`, false],
      [
        'ALTER TABLE p DROP CONSTRAINT p_pkey, ADD PRIMARY KEY (id) DEFERRABLE; CREATE PUBLICATION pub FOR TABLE p',
        true,
      ],
    ])('%s', async (sql, expected) => {
      const [refused] = await refuses(sql)
      expect(refused).toBe(expected)
    })

    it('with a row filter or a column list that the replica identity does not fit refuses it, too', async () => {
      const add = 'ALTER TABLE p ADD x int;'
      expect((await refuses(`${add} CREATE PUBLICATION pub FOR TABLE p WHERE (x > 1)`))[0]).toBe(true)
      expect((await refuses(`${add} CREATE PUBLICATION pub FOR TABLE p (x)`))[0]).toBe(true)
    })

    it('is checked for each partition', async () => {
      await world.begin(`CREATE TABLE p (id int PRIMARY KEY, at timestamptz) PARTITION BY HASH (id); CREATE INDEX ON p (at);
        CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 1, REMAINDER 0); CREATE PUBLICATION pub FOR TABLE p`)
      expect(only(await world.report([policy])).blocked).toEqual([])
      await world.database.query('ALTER TABLE p0 REPLICA IDENTITY NOTHING')
      expect(codes(only(await world.report([policy])).blocked)).toEqual(['replica-identity'])
      await world.database.query('DROP PUBLICATION pub')
    })
  })

  it('two statements read it all', async () => {
    await world.begin(battlescopeDdl)
    const facts = await world.facts()
    expect(facts.relations.size).toBe(6)
    expect(facts.references.map(({ name, onDelete }) => [name, onDelete])).toEqual([
      ['battle_killmails_battle_id_fkey', 'cascade'],
      ['battle_participants_battle_id_fkey', 'cascade'],
      ['killmail_events_battle_id_fkey', 'set-null'],
      ['pilot_ship_history_killmail_id_fkey', 'no-action'],
    ])
  })
})
