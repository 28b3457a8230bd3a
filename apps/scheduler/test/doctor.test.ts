/** What `doctor` decides, without a database. */
import { describe, expect, it } from 'vitest'
import { onlyLeavesOutNulls } from '../src/doctor/foreign-key-checks.js'
import { grantChecks, type RelationGrants } from '../src/doctor/grant-checks.js'
import { stateDenial, type StateGrants } from '../src/state-grants.js'

describe('an index that leaves out only NULL', () => {
  it.each([
    ['(battle_id IS NOT NULL)', ['battle_id'], true],
    ['((a IS NOT NULL) AND ("B" IS NOT NULL))', ['a', '"B"'], true],
    ['(a IS NOT NULL)', ['a', 'b'], true],
    ['(other IS NOT NULL)', ['a'], false],
    ['((a IS NOT NULL) OR (a > 1))', ['a'], false],
    ['((a IS NOT NULL) AND (a > 1))', ['a'], false],
    ['(a IS NULL)', ['a'], false],
  ])('%s for %j: %s', (predicate, columns, expected) => {
    expect(onlyLeavesOutNulls(predicate, columns)).toBe(expected)
  })
})

describe('grants', () => {
  const nothing: RelationGrants = {
    schema: 'public',
    name: 'battles',
    kind: 'r',
    usable: true,
    ownerName: 'app',
    ownerIsOffLimits: false,
    maintain: false,
    owner: false,
    select: false,
    insert: false,
    update: false,
    delete: false,
  }
  const mends = (relation: RelationGrants, privilege: 'maintain' | 'owner' | 'delete', versionNum: number) =>
    grantChecks(
      {
        name: 'x',
        requires: { relations: [{ relation: 'public.*', except: ['public.old_*'], privileges: [privilege] }] },
      },
      [relation],
      { currentUser: 'keeper', versionNum },
    ).map(({ mend }) => mend)

  it.each([
    ['maintain', 150_000, false, 'GRANT app TO keeper;'],
    ['maintain', 150_000, true, 'ALTER TABLE "public"."battles" OWNER TO keeper;'],
    ['maintain', 170_000, true, 'GRANT MAINTAIN ON "public"."battles" TO keeper;'],
    ['owner', 170_000, false, 'GRANT app TO keeper;'],
    ['owner', 170_000, true, 'ALTER TABLE "public"."battles" OWNER TO keeper;'],
    ['delete', 150_000, true, 'GRANT DELETE ON "public"."battles" TO keeper;'],
  ] as const)('%s on %i, owner off limits: %s', (privilege, versionNum, ownerIsOffLimits, mend) => {
    expect(mends({ ...nothing, ownerIsOffLimits }, privilege, versionNum)).toEqual([mend])
  })

  it('are not asked for what is excepted, and name a materialized view as what it is', () => {
    expect(mends({ ...nothing, name: 'old_battles' }, 'owner', 150_000)).toEqual([undefined])
    expect(mends({ ...nothing, kind: 'm', ownerIsOffLimits: true }, 'owner', 150_000)).toEqual([
      'ALTER MATERIALIZED VIEW "public"."battles" OWNER TO keeper;',
    ])
  })

  it('name every relation that one statement would mend', () => {
    const requires = { relations: [{ relation: 'public.*', privileges: ['maintain'] }] } as const
    const relations = [nothing, { ...nothing, name: 'killmail_events' }]
    expect(grantChecks({ name: 'x', requires }, relations, { currentUser: 'keeper', versionNum: 150_000 })).toEqual([
      {
        check: 'grants of x',
        result: 'fail',
        detail: 'keeper may not maintain (ANALYZE, VACUUM) "public"."battles", "public"."killmail_events"',
        mend: 'GRANT app TO keeper;',
      },
    ])
  })
})

describe("the scheduler's own schema", () => {
  const fine: StateGrants = {
    exists: true,
    mayCreate: false,
    mayUse: true,
    tables: [{ name: 'task', owned: false, lacks: [] }],
  }
  it.each<[string, StateGrants, string | undefined]>([
    ['that is ours to use', fine, undefined],
    ['that may be made', { exists: false, mayCreate: true, mayUse: false, tables: [] }, undefined],
    [
      'that may not be made',
      { exists: false, mayCreate: false, mayUse: false, tables: [] },
      'CREATE SCHEMA "Own" AUTHORIZATION me;',
    ],
    [
      'that is empty',
      { exists: true, mayCreate: false, mayUse: true, tables: [] },
      'GRANT USAGE, CREATE ON SCHEMA "Own" TO me;',
    ],
    ['without USAGE', { ...fine, mayUse: false }, 'GRANT USAGE ON SCHEMA "Own" TO me;'],
    [
      'with a table that cannot be written',
      { ...fine, tables: [{ name: 'task', owned: false, lacks: ['DELETE'] }] },
      'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "Own" TO me;',
    ],
  ])('%s', (_what, grants, mend) => {
    expect(stateDenial(grants, 'Own', 'me')?.mend).toBe(mend)
  })

  it('whose tables lack the same is told in one line', () => {
    const lacking = (name: string, ...lacks: string[]) => ({ name, owned: false, lacks })
    const tables = [
      lacking('a', 'INSERT'),
      lacking('b', 'INSERT'),
      lacking('C', 'DELETE'),
      lacking('d', 'INSERT'),
      lacking('e', 'INSERT'),
    ]
    expect(stateDenial({ ...fine, tables }, 'own', 'me')?.detail).toBe(
      'lacks INSERT on own.a, own.b, own.d and 1 more; lacks DELETE on own."C"',
    )
  })
})
