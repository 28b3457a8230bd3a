/** Killmails and battles → rows of BattleScope's tables. Pure; rows are made one by one, as COPY takes them. */
import { Random } from '../generator/random.js'
import { payloadOf } from '../generator/payload.js'
import type { Combatant, Killmail } from '../killmails/killmail.js'
import { clustererDefaults } from '../clusterer.js'
import { isProcessed, listParticipants, type Battle } from './battles.js'
import type { CopyValue } from './copy-text.js'
import { formatCents, toCents } from './isk.js'

export interface TableRows {
  readonly table: string
  readonly columns: readonly string[]
  readonly rows: Iterable<readonly CopyValue[]>
}

/** An enrichment younger than this is still waiting for its turn. */
const enrichmentDelayMs = 10 * 60_000
/** zKillboard's answer did not come; nothing repeats these. */
const failedEnrichments = 0.004

const distinct = (ids: readonly (number | undefined)[]): readonly number[] => [
  ...new Set(ids.filter((id) => id !== undefined)),
]

const zkbUrl = ({ id }: Killmail): string => `https://zkillboard.com/kill/${id}/`

const iskOf = ({ valueIsk }: Killmail): string | null =>
  valueIsk === undefined ? null : formatCents(toCents(valueIsk))

/** When BattleScope got it: real killmails were back-filled now, generated ones came soon after the fact. */
function fetchedAtMs(killmail: Killmail, nowMs: number): number {
  if (killmail.payload !== undefined) return nowMs
  return Math.min(nowMs, killmail.occurredAtMs + new Random(killmail.id).integer(5_000, 120_000))
}

/** In an order that foreign keys accept. */
export function killmailTables(
  killmails: readonly Killmail[],
  battles: readonly Battle[],
  nowMs: number,
): readonly TableRows[] {
  return [
    battlesTable(battles, nowMs),
    eventsTable(killmails, battles, nowMs),
    enrichmentsTable(killmails, nowMs),
    historyTable(killmails, nowMs),
    battleKillmailsTable(battles),
    participantsTable(battles),
  ]
}

function battlesTable(battles: readonly Battle[], nowMs: number): TableRows {
  const row = ({ id, systemId, killmails }: Battle): readonly CopyValue[] => {
    const start = new Date(killmails[0]?.occurredAtMs ?? 0)
    const endMs = killmails.at(-1)?.occurredAtMs ?? 0
    const total = killmails.reduce((sum, { valueIsk }) => sum + toCents(valueIsk ?? 0), 0n)
    const minute = start.toISOString().replaceAll(/\D/g, '').slice(0, 12)
    const generated = killmails.some(({ payload }) => payload === undefined)
    const madeAtMs = Math.min(nowMs, endMs + clustererDefaults.processingDelayMs)
    return [
      id,
      systemId,
      start,
      new Date(endMs),
      killmails.length,
      formatCents(total),
      `https://zkillboard.com/related/${systemId}/${minute}/`,
      new Date(madeAtMs),
      securityType(systemId, generated),
    ]
  }
  return {
    table: 'battles',
    columns: [
      'id',
      'system_id',
      'start_time',
      'end_time',
      'total_kills',
      'total_isk_destroyed',
      'zkill_related_url',
      'created_at',
      'security_type',
    ],
    rows: mapRows(battles, row),
  }
}

/** Wormholes have ids of their own. Elsewhere only ESI knows; systems of generated battles are not real, and get a made-up class. */
function securityType(systemId: number, generated: boolean): string | null {
  if (systemId >= 31_000_000 && systemId < 32_000_000) return 'wormhole'
  if (!generated) return null
  const twentieth = systemId % 20
  return twentieth < 6 ? 'highsec' : twentieth < 11 ? 'lowsec' : twentieth < 19 ? 'nullsec' : 'pochven'
}

function eventsTable(killmails: readonly Killmail[], battles: readonly Battle[], nowMs: number): TableRows {
  const battleOf = new Map(battles.flatMap((battle) => battle.killmails.map(({ id }) => [id, battle.id] as const)))
  return {
    table: 'killmail_events',
    columns: [
      'killmail_id',
      'system_id',
      'occurred_at',
      'victim_alliance_id',
      'victim_corp_id',
      'victim_character_id',
      'attacker_character_ids',
      'attacker_corp_ids',
      'attacker_alliance_ids',
      'isk_value',
      'zkb_url',
      'fetched_at',
      'processed_at',
      'battle_id',
    ],
    rows: mapRows(killmails, (killmail) => {
      const { id, systemId, occurredAtMs, victim, attackers } = killmail
      const fetchedMs = fetchedAtMs(killmail, nowMs)
      const ripeMs = Math.max(fetchedMs, occurredAtMs + clustererDefaults.processingDelayMs)
      return [
        id,
        systemId,
        new Date(occurredAtMs),
        victim.allianceId ?? null,
        victim.corporationId ?? null,
        victim.characterId ?? null,
        distinct(attackers.map(({ characterId }) => characterId)),
        distinct(attackers.map(({ corporationId }) => corporationId)),
        distinct(attackers.map(({ allianceId }) => allianceId)),
        iskOf(killmail),
        zkbUrl(killmail),
        new Date(fetchedMs),
        isProcessed(killmail, nowMs) ? new Date(Math.min(nowMs, ripeMs)) : null,
        battleOf.get(id) ?? null,
      ]
    }),
  }
}

function enrichmentsTable(killmails: readonly Killmail[], nowMs: number): TableRows {
  return {
    table: 'killmail_enrichments',
    columns: ['killmail_id', 'status', 'payload', 'error', 'fetched_at', 'updated_at', 'created_at'],
    rows: mapRows(killmails, (killmail) => {
      const createdMs = fetchedAtMs(killmail, nowMs)
      const created = new Date(createdMs)
      const generated = killmail.payload === undefined
      if (generated && createdMs > nowMs - enrichmentDelayMs)
        return [killmail.id, 'pending', null, null, null, created, created]
      const updated = new Date(Math.min(nowMs, createdMs + 30_000))
      if (generated && new Random(-killmail.id).chance(failedEnrichments))
        return [killmail.id, 'failed', null, 'zKillboard: no answer within 10 s', null, updated, created]
      return [killmail.id, 'succeeded', JSON.stringify(payloadOf(killmail)), null, updated, updated, created]
    }),
  }
}

function historyTable(killmails: readonly Killmail[], nowMs: number): TableRows {
  function* rowsOf(killmail: Killmail): Generator<readonly CopyValue[]> {
    const value = killmail.valueIsk === undefined ? null : Math.round(killmail.valueIsk)
    const seen = new Set<number>()
    const everyone: readonly Combatant[] = [killmail.victim, ...killmail.attackers]
    for (const [index, { characterId, corporationId, allianceId, shipTypeId }] of everyone.entries()) {
      // One row for each pilot of a killmail, and none for those whose ship is unknown.
      if (characterId === undefined || shipTypeId === undefined || seen.has(characterId)) continue
      seen.add(characterId)
      const isLoss = index === 0
      yield [
        killmail.id,
        characterId,
        shipTypeId,
        allianceId ?? null,
        corporationId ?? null,
        killmail.systemId,
        isLoss,
        isLoss ? value : null,
        value,
        new Date(killmail.occurredAtMs),
        zkbUrl(killmail),
        new Date(fetchedAtMs(killmail, nowMs)),
      ]
    }
  }
  return {
    table: 'pilot_ship_history',
    columns: [
      'killmail_id',
      'character_id',
      'ship_type_id',
      'alliance_id',
      'corp_id',
      'system_id',
      'is_loss',
      'ship_value',
      'killmail_value',
      'occurred_at',
      'zkb_url',
      'created_at',
    ],
    rows: flatMapRows(killmails, rowsOf),
  }
}

function battleKillmailsTable(battles: readonly Battle[]): TableRows {
  return {
    table: 'battle_killmails',
    columns: [
      'battle_id',
      'killmail_id',
      'zkb_url',
      'occurred_at',
      'victim_alliance_id',
      'isk_value',
      'attacker_alliance_ids',
    ],
    rows: flatMapRows(battles, ({ id, killmails }) =>
      killmails.map((killmail) => [
        id,
        killmail.id,
        zkbUrl(killmail),
        new Date(killmail.occurredAtMs),
        killmail.victim.allianceId ?? null,
        iskOf(killmail),
        distinct(killmail.attackers.map(({ allianceId }) => allianceId)),
      ]),
    ),
  }
}

function participantsTable(battles: readonly Battle[]): TableRows {
  return {
    table: 'battle_participants',
    columns: ['battle_id', 'character_id', 'alliance_id', 'corp_id', 'ship_type_id', 'is_victim'],
    rows: flatMapRows(battles, (battle) =>
      listParticipants(battle).map((participant) => [
        battle.id,
        participant.characterId,
        participant.allianceId ?? null,
        participant.corporationId ?? null,
        participant.shipTypeId,
        participant.isVictim,
      ]),
    ),
  }
}

function* mapRows<T>(items: readonly T[], row: (item: T) => readonly CopyValue[]): Generator<readonly CopyValue[]> {
  for (const item of items) yield row(item)
}

function* flatMapRows<T>(
  items: readonly T[],
  rows: (item: T) => Iterable<readonly CopyValue[]>,
): Generator<readonly CopyValue[]> {
  for (const item of items) yield* rows(item)
}
