/** What a generated killmail would have looked like at its source. Made when it is needed: kept, it would be most of the memory. */
import type { Combatant, Killmail } from '../killmails/killmail.js'
import { Random } from './random.js'

/** The killmail as it was found, or as ESI would have given it: without the victim's items, with zKillboard's value. */
export const payloadOf = (killmail: Killmail): object => killmail.payload ?? asEsi(killmail)

function asEsi({ id, occurredAtMs, systemId, victim, attackers, valueIsk }: Killmail): object {
  const random = new Random(id)
  const damage = attackers.map(() => Math.round(Math.exp(6.5 + 1.5 * random.normal())))
  const finalBlow = random.integer(0, attackers.length - 1)
  return {
    killmail_id: id,
    killmail_time: new Date(occurredAtMs).toISOString().replace('.000Z', 'Z'),
    solar_system_id: systemId,
    victim: { ...ids(victim), damage_taken: damage.reduce((sum, one) => sum + one, 0) },
    attackers: attackers.map((attacker, index) => ({
      ...ids(attacker),
      damage_done: damage[index],
      final_blow: index === finalBlow,
      security_status: Math.round(random.normal() * 30) / 10,
    })),
    zkb: { totalValue: valueIsk, npc: attackers.every(({ characterId }) => characterId === undefined) },
  }
}

const ids = ({ characterId, corporationId, allianceId, shipTypeId }: Combatant): object => ({
  ...(allianceId && { alliance_id: allianceId }),
  ...(characterId && { character_id: characterId }),
  ...(corporationId && { corporation_id: corporationId }),
  ...(shipTypeId && { ship_type_id: shipTypeId }),
})
