/** A killmail as the rest of the demo sees it, whatever form it came in. */

/** Who took part, as far as the source knows: ids are absent for NPCs, structures, and sources that only have names. */
export interface Combatant {
  readonly characterId?: number
  readonly corporationId?: number
  readonly allianceId?: number
  readonly shipTypeId?: number
}

export interface Attacker extends Combatant {
  /** Absent where the source leaves it to be concluded: somebody with a character id is a player. */
  readonly isPlayer?: boolean
}

export interface Killmail {
  /** Never 0. Negative for mails that were posted by hand. */
  readonly id: number
  readonly occurredAtMs: number
  readonly systemId: number
  readonly victim: Combatant
  readonly attackers: readonly Attacker[]
  /** Absent where the source gives none: ESI knows no values. */
  readonly valueIsk?: number
  /** The killmail as it was found, to be stored as the enrichment's payload. Absent for generated ones. */
  readonly payload?: object
}

/** The capsule that a pilot is left in when the ship is gone. */
export const capsuleTypeId = 670

export const isPlayer = (attacker: Attacker): boolean => attacker.isPlayer ?? attacker.characterId !== undefined
