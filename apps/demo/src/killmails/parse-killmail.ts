/** One entry of a file → a killmail, or why it is none. */
import {
  isFields,
  readFields,
  readInteger,
  readList,
  readOptionalId,
  readOptionalValueIsk,
  readTimeMs,
  UnusableEntryError,
  type Fields,
} from './fields.js'
import { capsuleTypeId, type Attacker, type Combatant, type Killmail } from './killmail.js'

/** What zKillboard adds to a killmail; its API gives this and the id alone. */
export interface ValueNote {
  readonly killmailId: number
  readonly valueIsk: number
}

export type Entry = { readonly killmail: Killmail } | { readonly valueNote: ValueNote }

export interface ParseOptions {
  /** A killmail later than this is refused. */
  readonly nowMs: number
}

/** What PostgreSQL's jsonb cannot hold: NUL, and halves of surrogate pairs, which JSON.stringify writes as escapes. */
const notInJsonb = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i

/**
 * Reads one entry in any of the accepted forms.
 * @throws UnusableEntryError
 */
export function parseEntry(value: unknown, { nowMs }: ParseOptions): Entry {
  if (!isFields(value)) throw new UnusableEntryError('not an object')
  const { core, zkb } = unwrap(value)
  if (core['killmail_id'] === undefined) throw new UnusableEntryError('no killmail: it has no killmail_id')
  const id = readInteger(core, 'killmail_id', 'killmail_id')
  if (id === 0) throw new UnusableEntryError('killmail_id must not be 0')
  const valueIsk = zkb && readOptionalValueIsk(zkb, 'totalValue', 'zkb.totalValue')
  if (zkb && core['victim'] === undefined && core['attackers'] === undefined) {
    if (valueIsk === undefined) throw new UnusableEntryError('a zkb block without totalValue, and no killmail')
    return { valueNote: { killmailId: id, valueIsk } }
  }
  const occurredAtMs = readTimeMs(core, 'killmail_time', 'killmail_time')
  if (occurredAtMs > nowMs) throw new UnusableEntryError('killmail_time lies in the future')
  const systemId = readInteger(core, 'solar_system_id', 'solar_system_id')
  if (systemId <= 0) throw new UnusableEntryError('solar_system_id must be positive')
  const victim = readCombatant(readFields(core, 'victim', 'victim'), 'victim')
  const attackers = readList(core, 'attackers', 'attackers').map((fields, index) =>
    readAttacker(fields, `attackers[${index}]`),
  )
  if (attackers.length === 0) throw new UnusableEntryError('attackers is empty')
  const payload = zkb === undefined || zkb === core['zkb'] ? core : { ...core, zkb }
  if (notInJsonb.test(JSON.stringify(payload)))
    throw new UnusableEntryError('has a NUL character or half a surrogate pair in a text, which jsonb cannot hold')
  return {
    killmail: { id, occurredAtMs, systemId, victim, attackers, ...(valueIsk !== undefined && { valueIsk }), payload },
  }
}

/** ESI and zKillboard put the fields at the top; zKillboard's queue wraps them: `{ package: { killID, killmail, zkb } }`. */
function unwrap(value: Fields): { readonly core: Fields; readonly zkb: Fields | undefined } {
  const outer = isFields(value['package']) ? value['package'] : value
  const core = isFields(outer['killmail']) ? outer['killmail'] : outer
  const zkb = [core['zkb'], outer['zkb']].find(isFields)
  return { core, zkb }
}

/** Exports of 2014 name ships instead of giving their ids. Capsules matter, so they are recognised; other names stay unknown ids. */
function readCombatant(fields: Fields, path: string): Combatant {
  const ids = {
    characterId: readOptionalId(fields, 'character_id', `${path}.character_id`),
    corporationId: readOptionalId(fields, 'corporation_id', `${path}.corporation_id`),
    allianceId: readOptionalId(fields, 'alliance_id', `${path}.alliance_id`),
    shipTypeId:
      readOptionalId(fields, 'ship_type_id', `${path}.ship_type_id`) ??
      (fields['ship'] === 'Capsule' ? capsuleTypeId : undefined),
  }
  return Object.fromEntries(Object.entries(ids).filter(([, id]) => id !== undefined))
}

function readAttacker(fields: Fields, path: string): Attacker {
  const { player } = fields
  return { ...readCombatant(fields, path), ...(typeof player === 'boolean' && { isPlayer: player }) }
}
