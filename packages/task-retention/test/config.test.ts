import { configurationJsonSchema, optionTable, resolveConfiguration, type Section } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { retentionConfig } from '../src/config.js'
import { keyOf, resolvePolicies } from '../src/policy.js'

const section: Section = { name: 'retention', schema: retentionConfig }
const resolve = (environment: Record<string, string>) => resolveConfiguration({ sections: [section], environment })

/** `path: message` of everything that is wrong. */
function problems(policies: unknown, options: object = {}): string[] {
  const result = retentionConfig.safeParse({ policies, ...options })
  return (result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

const logs = { name: 'logs', relation: 'logs', timeColumn: 'at' }
const parts = { name: 'parts', relation: 'parts', timeColumn: 'at' }

describe('the defaults', () => {
  const policies = resolvePolicies(retentionConfig.parse({}))

  it('are the killmails and battles of BattleScope, killmails first, archived, for sixty months', () => {
    expect(
      policies.map(({ name, relation, keep, archive, children }) => [
        name,
        keyOf(relation),
        keep,
        archive,
        children.map((child) => keyOf(child.relation)),
      ]),
    ).toEqual([
      [
        'killmails',
        'public.killmail_events',
        { months: 60, days: 0 },
        true,
        ['public.killmail_enrichments', 'public.pilot_ship_history'],
      ],
      [
        'battles',
        'public.battles',
        { months: 60, days: 0 },
        true,
        ['public.battle_killmails', 'public.battle_participants'],
      ],
    ])
  })

  it('keep what is unprocessed, and what was fetched within the grace for late rows', () => {
    const [killmails] = resolvePolicies(retentionConfig.parse({ backfillGrace: '9 days' }))
    expect(killmails?.keepWhile).toEqual([
      { column: 'processed_at', is: 'null' },
      { column: 'fetched_at', within: { months: 0, days: 9 } },
    ])
  })

  it('know which members are children, too', () => {
    expect(policies[1]?.members.map(({ relation, isChild }) => [relation.name, isChild])).toEqual([
      ['killmail_events', false],
      ['battle_killmails', true],
    ])
  })

  it('leave accounts, roles, rulesets and audit logs alone', () => {
    expect(JSON.stringify(policies)).not.toMatch(/account|role|ruleset|audit/)
  })
})

describe('from the environment', () => {
  it('come simple options by their names, and policies as JSON', () => {
    const { sections, problems: found } = resolve({
      SCHEDULER_RETENTION_KEEP: '48 months',
      SCHEDULER_RETENTION_MAX_ROWS_PER_RUN: '5000',
      SCHEDULER_RETENTION_CREATE_MISSING_INDEXES: 'true',
      SCHEDULER_RETENTION_STATEMENT_TARGET: '40ms',
      SCHEDULER_RETENTION_POLICIES: JSON.stringify([{ ...logs, keep: '3 months', archive: false }]),
    })
    expect(found).toEqual([])
    expect(sections['retention']).toMatchObject({
      keep: { months: 48, days: 0 },
      maxRowsPerRun: 5000,
      createMissingIndexes: true,
      statementTarget: 40,
      policies: [{ name: 'logs', keep: { months: 3, days: 0 }, archive: false, children: [] }],
    })
  })

  it('are documented, policies with their defaults', () => {
    expect(optionTable(section)).toContain('`SCHEDULER_RETENTION_MINIMUM_KEEP`')
    expect(configurationJsonSchema([section])).toMatchObject({
      properties: { retention: { properties: { keep: { default: '60 months' }, policies: { type: 'array' } } } },
    })
  })
})

describe('every problem is told at once, with its place', () => {
  it('in the shape of a policy', () => {
    expect(
      problems([
        { ...logs, name: 'My Logs', relation: 'a.b.c', keepWhile: [{ column: 'x', is: 'empty' }] },
        { ...parts, relation: 'pg_catalog.pg_class', timeColumn: '', typo: true },
      ]),
    ).toEqual([
      'policies.0.name: a name in kebab-case',
      expect.stringMatching(/^policies\.0\.relation: the name of a relation: 'a\.b\.c'/),
      expect.stringMatching(/^policies\.0\.keepWhile\.0/),
      "policies.1.relation: the name of a relation: the schema pg_catalog is PostgreSQL's own",
      'policies.1.timeColumn: the name of a column: the name is empty',
      expect.stringMatching(/^policies\.1: .*typo/),
    ])
  })

  it('in how policies fit together', () => {
    expect(
      problems([
        { ...logs, children: [{ relation: 'lines', columns: ['log', 'log'], references: ['id'] }] },
        { ...logs, relation: '"logs"' },
        {
          ...parts,
          children: [{ relation: 'public.lines', columns: ['part'], references: ['id'] }],
          with: { policy: 'wholes', columns: ['whole'], references: ['id'] },
        },
      ]),
    ).toEqual([
      "policies.1.name: a name of its own: 'logs' is used twice",
      'policies.1.relation: a relation that is named once: "logs" is already deleted from by 0.relation',
      'policies.2.children.0.relation: a relation that is named once: public.lines is already deleted from by 0.children.0.relation',
      'policies.0.children.0.references: as many columns as columns has: 2',
      'policies.0.children.0.columns: each column once',
      'policies.2.with.policy: the name of a policy: one of logs, logs, parts',
    ])
  })

  it('in members that do not point to what the rows of the group point to', () => {
    const group = {
      ...logs,
      members: [{ relation: 'parts', columns: ['log_name'], references: ['name'], timeColumn: 'at' }],
    }
    expect(problems([group, { ...parts, with: { policy: 'logs', columns: ['log'], references: ['id'] } }])).toEqual([
      "policies.0.members.0.references: the columns that 'parts' points to as well: id",
    ])
  })

  it('in a period under the floor that nobody confirmed', () => {
    const short = { ...logs, keep: '29 days' }
    expect(problems([short, parts], { keep: '4 weeks' })).toEqual([
      "policies.0.keep: at least minimumKeep, or confirmShortPeriod: true, where 'logs' is meant to keep rows for less",
      "policies.1.confirmShortPeriod: at least minimumKeep, or confirmShortPeriod: true, where 'parts' is meant to keep rows for less",
    ])
    expect(problems([{ ...short, confirmShortPeriod: true }, parts])).toEqual([])
  })

  it.each([
    ['1 month', '30 days', true],
    ['1 year', '365 days', true],
    ['12 months', '366 days', false],
    ['30 days', '1 month', false],
  ])('%s against a floor of %s', (keep, minimumKeep, enough) => {
    expect(problems([{ ...logs, keep }], { minimumKeep }).length === 0).toBe(enough)
  })

  it('in a target above the limit', () => {
    expect(problems([logs], { statementTarget: '1s' })).toEqual(['statementTarget: at most statementLimit'])
  })
})

describe('the order of policies', () => {
  const order = (policies: object[]) => resolvePolicies(retentionConfig.parse({ policies })).map(({ name }) => name)

  it('puts what belongs to a group before the group, whatever the order of the list', () => {
    expect(order([logs, { ...parts, with: { policy: 'logs', columns: ['log'], references: ['id'] } }])).toEqual([
      'parts',
      'logs',
    ])
  })

  it('puts members before what waits for them', () => {
    expect(order([{ ...logs, members: [{ relation: 'parts', columns: ['log'], references: ['id'] }] }, parts])).toEqual(
      ['parts', 'logs'],
    )
  })

  it('puts what deletes members as children before, too', () => {
    const lines = { relation: 'lines', columns: ['part'], references: ['id'] }
    const group = { ...logs, members: [{ relation: 'lines', columns: ['log'], references: ['id'] }] }
    expect(order([group, { ...parts, children: [lines] }])).toEqual(['parts', 'logs'])
  })

  it('is that of the list otherwise, and a relation may wait for its own rows', () => {
    expect(
      order([{ ...parts, members: [{ relation: 'parts', columns: ['parent'], references: ['id'] }] }, logs]),
    ).toEqual(['parts', 'logs'])
  })

  it('is refused when it is a circle', () => {
    const members = (relation: string) => [{ relation, columns: ['other'], references: ['id'] }]
    expect(
      problems([
        { ...logs, members: members('parts') },
        { ...parts, members: members('logs') },
      ]),
    ).toEqual([
      "policies.0: an order in which policies can run: 'logs' waits for itself, or for policies that do",
      "policies.1: an order in which policies can run: 'parts' waits for itself, or for policies that do",
    ])
    expect(problems([{ ...logs, with: { policy: 'logs', columns: ['parent'], references: ['id'] } }])).toEqual([
      "policies.0: an order in which policies can run: 'logs' waits for itself, or for policies that do",
    ])
  })
})
