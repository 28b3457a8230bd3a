import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseFile } from '../../src/killmails/parse-file.js'
import { esi, queued, region, valueOnly, zkillboard } from './samples.js'

const nowMs = Date.UTC(2026, 10, 23)
const parse = (value: unknown) => parseFile(typeof value === 'string' ? value : JSON.stringify(value), { nowMs })

describe('accepted forms', () => {
  it('reads one killmail of ESI', () => {
    const { killmails, problems } = parse(esi)
    expect(problems).toEqual([])
    expect(killmails).toEqual([
      {
        id: 101,
        occurredAtMs: Date.UTC(2024, 2, 5, 19, 30),
        systemId: 30001111,
        victim: { characterId: 2113000001, corporationId: 98000021, allianceId: 99000011, shipTypeId: 600 },
        attackers: [
          { characterId: 2113000002, corporationId: 98000022, allianceId: 99000012, shipTypeId: 601 },
          { corporationId: 1000125, shipTypeId: 602 },
        ],
        payload: esi,
      },
    ])
  })

  it('reads a list, and a value from zKillboard', () => {
    const { killmails } = parse([esi, zkillboard])
    expect(killmails.map(({ id, valueIsk }) => ({ id, valueIsk }))).toEqual([
      { id: 101, valueIsk: undefined },
      { id: 303, valueIsk: 1234.56 },
    ])
    expect(killmails[1]?.payload).toEqual(zkillboard)
  })

  it('reads ships by name, hand-posted negative ids, and who is a player', () => {
    const [killmail] = parse([region]).killmails
    expect(killmail).toMatchObject({
      id: -202,
      victim: { shipTypeId: 670 },
      attackers: [{ isPlayer: true }, { isPlayer: false }],
      payload: region,
    })
    expect(killmail?.attackers[0]).not.toHaveProperty('shipTypeId')
  })

  it('unwraps what the queue of zKillboard gives', () => {
    const [killmail] = parse(queued).killmails
    expect(killmail).toMatchObject({ id: 404, valueIsk: 1234.56 })
    expect(killmail?.payload).toEqual({ ...queued.package.killmail, zkb: queued.package.zkb })
  })

  it('keeps the value of an entry that is a zkb block alone', () => {
    expect(parse([valueOnly])).toEqual({
      killmails: [],
      valueNotes: [{ killmailId: 101, valueIsk: 1234.56 }],
      problems: [],
    })
  })

  it('reads one killmail per line, and a byte order mark', () => {
    expect(parse(`${JSON.stringify(esi)}\n\n${JSON.stringify(region)}\n`).killmails.map(({ id }) => id)).toEqual([
      101, -202,
    ])
    expect(parse(`\uFEFF${JSON.stringify(esi)}`).killmails).toHaveLength(1)
  })

  it.each([
    ['2014-01-20T20:15:00Z', '2014-01-20T20:15:00.000Z'],
    ['2014-01-20 20:15', '2014-01-20T20:15:00.000Z'],
    ['2014-01-20T20:15:30.5+00:00', '2014-01-20T20:15:30.000Z'],
  ])('reads the time %s as UTC', (killmail_time, expected) => {
    const [killmail] = parse({ ...esi, killmail_time }).killmails
    expect(new Date(killmail?.occurredAtMs ?? 0).toISOString()).toBe(expected)
  })
})

describe('what is not usable', () => {
  it.each<[string, unknown, string]>([
    ['no id', { ...esi, killmail_id: undefined }, 'no killmail: it has no killmail_id'],
    ['an id of text', { ...esi, killmail_id: '101' }, 'killmail_id must be a whole number, not "101"'],
    ['an id that JSON rounds', { ...esi, killmail_id: 2 ** 60 }, `killmail_id must be a whole number, not ${2 ** 60}`],
    ['id 0', { ...esi, killmail_id: 0 }, 'killmail_id must not be 0'],
    ['no time', { ...esi, killmail_time: null }, 'killmail_time is missing'],
    [
      'a day that is none',
      { ...esi, killmail_time: '2024-02-30T10:00:00Z' },
      'killmail_time must be a UTC time like 2014-02-16T19:40:00Z, not "2024-02-30T10:00:00Z"',
    ],
    ['the future', { ...esi, killmail_time: '2031-01-01T00:00:00Z' }, 'killmail_time lies in the future'],
    ['no system', { ...esi, solar_system_id: undefined }, 'solar_system_id is missing'],
    ['no victim', { ...esi, victim: undefined }, 'victim is missing'],
    ['a victim that is a list', { ...esi, victim: [] }, 'victim must be an object, not []'],
    ['no attackers', { ...esi, attackers: [] }, 'attackers is empty'],
    ['an attacker that is none', { ...esi, attackers: [7] }, 'attackers[0] must be an object, not 7'],
    [
      'a bad character',
      { ...esi, attackers: [...esi.attackers, { character_id: -3 }] },
      'attackers[2].character_id must be a positive whole number, not -3',
    ],
    ['a bad value', { ...zkillboard, zkb: { totalValue: -1 } }, 'zkb.totalValue must be a number of ISK, not -1'],
    [
      'NUL in a text',
      { ...esi, victim: { ...esi.victim, note: 'a\u0000b' } },
      'has a NUL character or half a surrogate pair in a text, which jsonb cannot hold',
    ],
    [
      'half a surrogate pair',
      { ...esi, note: '\ud800' },
      'has a NUL character or half a surrogate pair in a text, which jsonb cannot hold',
    ],
  ])('%s', (_, entry, why) => {
    expect(parse([esi, entry])).toMatchObject({ killmails: [{ id: 101 }], problems: [{ where: 'entry 2', why }] })
  })

  it('accepts a backslash that only looks like an escaped NUL', () => {
    expect(parse({ ...esi, note: String.raw`\u0000` }).problems).toEqual([])
  })

  it('says of a history that it holds no killmails', () => {
    const { problems } = parse({ 101: 'ab'.repeat(20), 102: 'cd'.repeat(20) })
    expect(problems).toEqual([
      {
        why:
          'is a history, 2 killmail ids with their hashes, and no killmails; ' +
          'fetch each from ESI (/killmails/ID/HASH/) and give those files',
      },
    ])
  })

  it.each<[string, string, object]>([
    ['nothing', ' \n', { why: 'is empty' }],
    ['an empty list', '[]', { why: 'is an empty list' }],
    ['a number', '7', { why: 'is JSON, but neither a killmail nor a list of them' }],
    ['a map of something else', '{"101": "pod"}', { why: 'no killmail: it has no killmail_id' }],
    ['an end too early', '[{"killmail_id":', { why: 'is not JSON: it ends too early' }],
    ['an open text', '[{"killmail_id', { why: 'is not JSON: it ends too early' }],
  ])('says where and why: %s', (_, text, problem) => {
    expect(parse(text)).toEqual({ killmails: [], valueNotes: [], problems: [problem] })
  })

  it('says at which line JSON breaks off, or what is wrong with it', () => {
    expect(parse('[\n  {"a": 1},\n  {"a" 1}]').problems).toMatchObject([
      { where: 'line 3, column 8', why: expect.stringMatching(/^is not JSON: Expected ':'/) },
    ])
    expect(parse('<html>\n</html>').problems[0]?.why).toMatch(/^is not JSON: Unexpected token '<'.*$/)
  })

  it('loses only the broken line of a file with one killmail per line', () => {
    const { killmails, problems } = parse(`${JSON.stringify(esi)}\n{"killmail_id": 5,\n${JSON.stringify(region)}`)
    expect(killmails.map(({ id }) => id)).toEqual([101, -202])
    expect(problems).toEqual([{ where: 'line 2', why: 'is not JSON' }])
  })

  it('never throws, whatever the file holds', () => {
    const damaged = fc
      .tuple(fc.constantFrom(esi, region, zkillboard, queued, valueOnly), fc.string(), fc.jsonValue())
      .map(([sample, key, value]) => ({ ...sample, [key]: value }))
    const field = fc
      .tuple(fc.constantFrom(...Object.keys(esi)), fc.jsonValue())
      .map(([key, value]) => ({ ...esi, [key]: value }))
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), damaged, field, fc.array(field)), (value) => {
        const { killmails, valueNotes, problems } = parse(JSON.stringify(value))
        expect(killmails.length + valueNotes.length + problems.length).toBeGreaterThan(0)
      }),
    )
    fc.assert(fc.property(fc.string(), (text) => void parseFile(text, { nowMs })))
  })
})
