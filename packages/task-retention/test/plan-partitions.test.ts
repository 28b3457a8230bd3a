import { GuardColumn } from '@battlescope/archive'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { retentionConfig } from '../src/config.js'
import { addContent, contentHashOf, isSameContent, noContent } from '../src/content-hash.js'
import type { PartitionedFacts, PartitionFacts, PartitionPlace, PartitionRecord } from '../src/partition-facts.js'
import { waitingFinding } from '../src/partition-findings.js'
import { createMonthStatement } from '../src/partition-records.js'
import {
  judgeContent,
  judgeRecord,
  mayDetach,
  selectExpired,
  whyPartitionsStay,
  whyRowByRow,
} from '../src/plan-partitions.js'
import { resolvePolicies } from '../src/policy.js'
import type { PreflightFacts } from '../src/preflight-facts.js'

const horizon = new Date('2020-06-15T00:00:00Z')

function partition(name: string, toAt: string | undefined, change: Partial<PartitionFacts> = {}): PartitionFacts {
  return {
    oid: name,
    relation: { schema: 'public', name },
    isTable: true,
    isOwned: true,
    hidesRows: false,
    isNamedElsewhere: false,
    isPending: false,
    bounds: 'FOR VALUES …',
    toAt: toAt === undefined ? undefined : new Date(toAt),
    sizeBytes: 8192,
    ...change,
  }
}

function factsOf(partitions: readonly PartitionFacts[], change: Partial<PartitionedFacts> = {}): PartitionedFacts {
  return { isByTime: true, hasDefault: false, isOwned: true, isPublished: false, partitions, ...change }
}

const [events] = resolvePolicies(
  retentionConfig.parse({ policies: [{ name: 'events', relation: 'events', timeColumn: 'at' }] }),
)

describe('selectExpired', () => {
  const namesOf = (partitions: readonly PartitionFacts[]) => {
    const { whole, others } = selectExpired(factsOf(partitions), horizon)
    return { whole: whole.map(({ oid }) => oid), others: others.map(({ partition: { oid } }) => oid) }
  }

  it('takes those that end at the horizon or before, oldest first', () => {
    expect(
      namesOf([
        partition('july', '2020-07-01T00:00:00Z'),
        partition('may', '2020-06-01T00:00:00Z'),
        partition('half', '2020-06-15T00:00:00Z'),
        partition('more', '2020-06-15T00:00:00.001Z'),
        partition('april', '2020-05-01T00:00:00Z'),
      ]),
    ).toEqual({ whole: ['april', 'may', 'half'], others: [] })
  })

  it('never takes the last one, nor what has no end', () => {
    expect(namesOf([partition('may', '2020-06-01T00:00:00Z')]).whole).toEqual([])
    expect(namesOf([partition('may', '2020-06-01T00:00:00Z'), partition('rest', undefined)]).whole).toEqual(['may'])
    // A pending one is as good as gone.
    const pending = partition('rest', undefined, { isPending: true })
    expect(namesOf([partition('may', '2020-06-01T00:00:00Z'), pending])).toEqual({ whole: [], others: [] })
  })

  it.each<[Partial<PartitionFacts>, RegExp]>([
    [{ isTable: false }, /partitioned itself/],
    [{ isOwned: false }, /does not own public\.may/],
    [{ hidesRows: true }, /row-level security/],
    [{ isNamedElsewhere: true }, /a view, function, type or policy names public\.may/],
  ])('leaves to row by row what is %o', (change, why) => {
    const young = partition('young', '2021-01-01T00:00:00Z')
    const { whole, others } = selectExpired(factsOf([partition('may', '2020-06-01T00:00:00Z', change), young]), horizon)
    expect(whole).toEqual([])
    expect(others[0]?.why).toMatch(why)
  })

  it('leaves at least one partition, whatever there is', () => {
    const any = fc.record({
      toAt: fc.option(fc.date({ noInvalidDate: true }), { nil: undefined }),
      isPending: fc.boolean(),
      isTable: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 8 }), fc.date({ noInvalidDate: true }), (list, at) => {
        const partitions = list.map((change, index) => partition(`p${index}`, undefined, change))
        const { whole, others } = selectExpired(factsOf(partitions), at)
        const taken = [...whole, ...others.map(({ partition: other }) => other)]
        const attached = partitions.filter(({ isPending }) => !isPending)
        expect(taken.length).toBeLessThanOrEqual(Math.max(0, attached.length - 1))
        for (const { toAt, isPending } of taken) {
          expect(isPending).toBe(false)
          expect(toAt?.getTime()).toBeLessThanOrEqual(at.getTime())
        }
      }),
    )
  })
})

describe('whole partitions', () => {
  it.each<[Partial<PartitionedFacts>, RegExp | undefined]>([
    [{}, undefined],
    [{ isByTime: false }, /not partitioned by range of at alone/],
    [{ hasDefault: true }, /default partition/],
    [{ isOwned: false }, /does not own/],
    [{ isPublished: true }, /publication/],
  ])('of a relation that is %o', (change, why) => {
    const found = whyPartitionsStay(events!, factsOf([], change))
    if (why === undefined) expect(found).toBeUndefined()
    else expect(found).toMatch(why)
  })

  it('ask for a direct connection, without needing it, only where a policy could take them', () => {
    const link = { relation: 'x', columns: ['a'], references: ['b'] }
    const may = (change: object) => {
      const config = { policies: [{ name: 'events', relation: 'events', timeColumn: 'at', ...change }] }
      const policies = resolvePolicies(retentionConfig.parse(config))
      return policies.map((policy) => mayDetach(policy, policies))
    }
    expect(may({})).toEqual([true])
    expect(may({ detachPartitions: false })).toEqual([false])
    expect(may({ children: [link] })).toEqual([false])
    expect(may({ members: [link] })).toEqual([false])
    expect(may({ keepWhile: [{ column: 'done_at', is: 'null' }] })).toEqual([false])
    // Those of BattleScope itself decide row by row.
    const own = resolvePolicies(retentionConfig.parse({}))
    expect(own.some((policy) => mayDetach(policy, own))).toBe(false)
  })

  it.each([
    ['has them as members', { members: [{ relation: 'events', columns: ['group_id'], references: ['id'] }] }],
    ['has rows that go with theirs', { with: { policy: 'events', columns: ['event_id'], references: ['id'] } }],
  ])('do not go where another policy %s: its deletes reach them, also detached', (_, change) => {
    const policies = resolvePolicies(
      retentionConfig.parse({
        policies: [
          { name: 'events', relation: 'events', timeColumn: 'at' },
          { name: 'groups', relation: 'groups', timeColumn: 'at', ...change },
        ],
      }),
    )
    const own = policies.find(({ name }) => name === 'events')!
    expect(mayDetach(own, [own])).toBe(true)
    expect(mayDetach(own, policies)).toBe(false)
    const facts = { relations: new Map(), references: [] } as unknown as PreflightFacts
    expect(whyRowByRow(facts, own, policies)).toBe('the policy groups is also about public.events')
  })
})

describe('judgeContent', () => {
  const judge = (rows: number, staying: number, rowsLeft: number) =>
    judgeContent('p', { rows, staying, hash: noContent }, { rowsLeft, maxRowsPerRun: 100 }).kind

  it('lets go what may go, in the limits of one run', () => {
    expect(judge(100, 0, 100)).toBe('go')
    expect(judge(0, 0, 1)).toBe('go')
    expect(judge(51, 0, 50)).toBe('later')
    expect(judge(101, 0, 100)).toBe('rows')
    expect(judge(10, 1, 100)).toBe('rows')
  })
})

describe('judgeRecord', () => {
  const record = (place: PartitionPlace, change: Partial<PartitionRecord> = {}): PartitionRecord => ({
    id: '1f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a001',
    policy: 'events',
    relation: 'public.events',
    partition: 'public.may',
    oid: '1',
    bounds: "FOR VALUES FROM ('2020-05-01') TO ('2020-06-01')",
    archive: true,
    announcedAt: new Date('2026-11-22T02:00:00Z'),
    session: 'battlescope-scheduler:1f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a002',
    isSending: false,
    detachedAt: undefined,
    isColumnRewritten: false,
    attachedAgainSlot: undefined,
    archived: { batchIds: [], rows: 0, hash: noContent, columns: undefined, last: undefined },
    checkedIds: [],
    place,
    ...change,
  })
  const detachedAt = new Date('2026-11-22T02:00:01Z')
  const some = { ...record('gone').archived, batchIds: ['x'] }

  it.each<[string, PartitionRecord, string]>([
    ['its own pending detach', record('pending'), 'finalize'],
    ['a detached one, known to be so or not', record('detached'), 'drop'],
    ['one whose detach was not noted', record('detached', { isColumnRewritten: true }), 'drop'],
    ['an announcement that nothing followed', record('attached', { session: undefined }), 'forget'],
    ['an announcement whose session came to nothing', record('attached'), 'forget'],
    ['an announcement whose session is still there', record('attached', { isSending: true }), 'sending'],
    ['what somebody detached after a mere announcement', record('detached', { session: undefined }), 'forget'],
    ['what somebody detaches after a mere announcement', record('pending', { session: undefined }), 'forget'],
    [
      'one that came back before its detach was noted',
      record('attached', { isColumnRewritten: true }),
      'attached-again',
    ],
    ['one that came back and left unseen', record('detached', { detachedAt, isColumnRewritten: true }), 'leave'],
    ['one that came back and is leaving', record('pending', { detachedAt, isColumnRewritten: true }), 'leave'],
    ['one that is attached again', record('attached', { detachedAt }), 'attached-again'],
    ['the same in that slot', record('attached', { detachedAt, attachedAgainSlot: 'now' }), 'attached-again'],
    ['the same in the next', record('attached', { detachedAt, attachedAgainSlot: 'before' }), 'forget'],
    ['what somebody else detached since', record('detached', { detachedAt, attachedAgainSlot: 'before' }), 'leave'],
    ['what somebody else detaches', record('pending', { detachedAt, attachedAgainSlot: 'before' }), 'leave'],
    ['one of a dump', record('restored', { detachedAt, archived: some }), 'restored'],
    ['a mere announcement beside another table', record('unknown'), 'forget'],
    ['one that was dropped before anything began', record('gone'), 'forget'],
    ['one that was dropped with copies in the archive', record('gone', { archived: some }), 'gone'],
    ['one of another relation', record('elsewhere', { detachedAt }), 'leave'],
    ['another table', record('unknown', { detachedAt }), 'leave'],
  ])('%s', (_, given, kind) => {
    expect(judgeRecord(given, 'now').kind).toBe(kind)
  })

  it('tells how to attach one that waits', () => {
    const long = `"${'""'.repeat(63)}"`
    const { key, details } = waitingFinding(record('detached', { partition: `${long}.${long}` }), 'x')
    expect(key.length).toBeLessThanOrEqual(200)
    expect(details).toMatchObject({
      mend: [
        expect.stringMatching(/^ALTER TABLE "public"\."events" ATTACH PARTITION "("")+"\."("")+" FOR VALUES FROM /),
      ],
    })
  })
})

describe('the content of rows', () => {
  const rows = fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 20 })
  const hashOf = (list: readonly (readonly [string, string])[]) =>
    contentHashOf([GuardColumn.of(list.map(([key]) => key)), GuardColumn.of(list.map(([, version]) => version))])

  it('adds up over parts, in whatever order', () => {
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        expect(isSameContent(addContent(hashOf(a), hashOf(b)), hashOf([...b, ...a]))).toBe(true)
      }),
    )
  })

  it('differs where one row does', () => {
    fc.assert(
      fc.property(rows, fc.tuple(fc.string(), fc.string()), (list, row) => {
        expect(isSameContent(hashOf(list), hashOf([...list, row]))).toBe(false)
      }),
    )
  })
})

describe('a partition for rows that come back', () => {
  it('is one of their month, where nobody knows of a better one', () => {
    expect(createMonthStatement({ relation: 'public.events', month: '2020-12' })).toBe(
      `CREATE TABLE "public"."events_2020_12" PARTITION OF "public"."events" FOR VALUES FROM ('2020-12-01 00:00:00+00') TO ('2021-01-01 00:00:00+00')`,
    )
    // Beside a name that is as long as names can be.
    expect(createMonthStatement({ relation: `public."${'ü'.repeat(31)}"`, month: '2020-12' })).toContain(
      `"public"."${'ü'.repeat(27)}_2020_12"`,
    )
  })
})
