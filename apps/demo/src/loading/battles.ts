/** Killmails → the battles that the clusterer would have made of them. Pure. */
import { clustererDefaults, groupKillmails } from '../clusterer.js'
import type { Random } from '../generator/random.js'
import { capsuleTypeId, type Combatant, type Killmail } from '../killmails/killmail.js'

export interface Participant {
  readonly characterId: number
  readonly corporationId: number | undefined
  readonly allianceId: number | undefined
  readonly shipTypeId: number
  readonly isVictim: boolean
}

export interface Battle {
  readonly id: string
  readonly systemId: number
  /** In order of time. */
  readonly killmails: readonly Killmail[]
}

/** The clusterer looks at a killmail only when it is old enough for late ones to have arrived. */
export const isProcessed = (killmail: Killmail, nowMs: number): boolean =>
  killmail.occurredAtMs <= nowMs - clustererDefaults.processingDelayMs

export function planBattles(killmails: readonly Killmail[], nowMs: number, random: Random): readonly Battle[] {
  return groupKillmails(killmails.filter((killmail) => isProcessed(killmail, nowMs)))
    .filter((group) => group.length >= clustererDefaults.minKills)
    .map((group) => ({ id: random.uuid(), systemId: group[0]?.systemId ?? 0, killmails: group }))
}

/** Each character once, in the first ship it was seen in, the capsule only if there was no other. Unknown ships cannot be stored. */
export function listParticipants({ killmails }: Battle): readonly Participant[] {
  const byCharacter = new Map<number, Participant>()
  const see = ({ characterId, corporationId, allianceId, shipTypeId }: Combatant, isVictim: boolean): void => {
    if (characterId === undefined || shipTypeId === undefined) return
    const known = byCharacter.get(characterId)
    const seenShip = known === undefined || known.shipTypeId === capsuleTypeId ? shipTypeId : known.shipTypeId
    byCharacter.set(characterId, {
      characterId,
      corporationId,
      allianceId,
      shipTypeId: seenShip,
      isVictim: isVictim || (known?.isVictim ?? false),
    })
  }
  for (const { victim, attackers } of killmails) {
    see(victim, true)
    for (const attacker of attackers) see(attacker, false)
  }
  return [...byCharacter.values()]
}
