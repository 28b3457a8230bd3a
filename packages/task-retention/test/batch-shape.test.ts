import { describe, expect, it } from 'vitest'
import { mustLock, type BatchShape } from '../src/batch-shape.js'
import { retentionConfig } from '../src/config.js'
import { resolvePolicies, type Policy } from '../src/policy.js'
import type { PreflightFacts, ReferentialAction, RelationFacts } from '../src/preflight-facts.js'

const [killmails, battles] = resolvePolicies(retentionConfig.parse({}))
const relation = (name: string) => ({ schema: 'public', name })

function shape(policy: Policy | undefined, change: Partial<Policy> = {}, references = ['killmail_id']): BatchShape {
  if (policy === undefined) throw new Error('there is no such policy')
  const keyColumns = [{ name: 'killmail_id', type: 'bigint' }]
  return {
    policy: { ...policy, ...change },
    parent: { relation: policy.relation, name: 'public.killmail_events', keyColumns, targetColumns: keyColumns },
    children: [
      {
        ...{ relation: relation('pilot_ship_history'), name: 'public.pilot_ship_history', keyColumns },
        ...{ linkColumns: keyColumns, references, hasForeignKey: true, takesAlong: false },
      },
    ],
  }
}

function facts(...actions: readonly ReferentialAction[]): PreflightFacts {
  return {
    relations: new Map(),
    references: actions.map((onDelete) => ({
      ...{ name: 'key', from: relation('pilot_ship_history'), fromAncestors: [], columns: ['killmail_id'] },
      ...{ to: relation('killmail_events'), references: ['killmail_id'], onDelete, isEnforced: true },
    })),
  }
}

describe('mustLock, with an archive', () => {
  it('is false where PostgreSQL refuses a late child, or knows of none', () => {
    expect(mustLock(shape(killmails), facts())).toBe(false)
    expect(mustLock(shape(killmails), facts('no-action', 'restrict'))).toBe(false)
  })

  it.each(['cascade', 'set-null', 'set-default'] as const)('is true for ON DELETE %s', (action) => {
    expect(mustLock(shape(killmails), facts('no-action', action))).toBe(true)
  })

  it('asks for keys that point to the relation or its children, and to no other', () => {
    const to = (name: string) => facts('cascade').references.map((key) => ({ ...key, to: relation(name) }))
    expect(mustLock(shape(killmails), { ...facts(), references: to('battles') })).toBe(false)
    expect(mustLock(shape(killmails), { ...facts(), references: to('pilot_ship_history') })).toBe(true)
  })

  it('is true where the triggers of a key do not fire', () => {
    const off = facts('no-action').references.map((key) => ({ ...key, isEnforced: false }))
    expect(mustLock(shape(killmails), { ...facts(), references: off })).toBe(true)
  })

  it('is true where triggers on DELETE may change the parents first', () => {
    const triggers = (event: 'delete' | 'update') => [
      ['public.pilot_ship_history', { triggers: [{ name: 'counter', event }] } as unknown as RelationFacts] as const,
    ]
    expect(mustLock(shape(killmails), { ...facts(), relations: new Map(triggers('delete')) })).toBe(true)
    expect(mustLock(shape(killmails), { ...facts(), relations: new Map(triggers('update')) })).toBe(false)
  })

  it('is true where members may come, which would stay', () => {
    expect(mustLock(shape(battles), facts())).toBe(true)
  })
})

describe('mustLock, without an archive', () => {
  it('is false whatever happens to children, which go anyway', () => {
    expect(mustLock(shape(killmails, { archive: false }), facts('cascade'))).toBe(false)
  })

  it.each(['set-null', 'set-default'] as const)('is true for ON DELETE %s, which would change what stays', (action) => {
    expect(mustLock(shape(killmails, { archive: false }), facts(action))).toBe(true)
  })

  it('is true where children point to what is not the key, and where members may come', () => {
    expect(mustLock(shape(killmails, { archive: false }, ['zkb_url']), facts())).toBe(true)
    expect(mustLock(shape(battles, { archive: false }), facts())).toBe(true)
  })
})
