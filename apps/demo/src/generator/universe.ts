/** Who lives where: made-up ids in the ranges that EVE uses, with a few large alliances and many small corporations. */
import { zipf, type Random, type Weighted } from './random.js'
import { systems as measuredSystems } from './measured.js'

export interface Pilot {
  readonly characterId: number
  readonly corporationId: number
  readonly allianceId?: number
}

/** Corporations that fight together: those of one alliance, or one that is in none. */
export interface Group {
  readonly corporations: readonly (readonly Pilot[])[]
}

export interface Universe {
  /** By activity, the busiest first. */
  readonly systemIds: readonly number[]
  readonly systemRank: Weighted
  readonly alliances: readonly Group[]
  readonly allianceRank: Weighted
  readonly independents: readonly Group[]
  readonly independentRank: Weighted
  readonly shipTypeIds: readonly number[]
  readonly shipRank: Weighted
  readonly npcCorporationIds: readonly number[]
}

/** Within weeks more systems see a kill than within one hour: 639 did in the hour that was measured. */
const systemCount = 850
const allianceCount = 150
const allianceCorporations = 500
const independentCorporations = 400
const shipTypeCount = 180
/** Attackers and victims per killmail are 4.3; most pilots fly many times. */
const pilotsPerKillmail = 0.4
const pilotsAtLeast = 4_000

export function makeUniverse(random: Random, killmailCount: number): Universe {
  const wormholes = Math.round(systemCount * 0.08)
  const systemIds = [
    ...random.distinct(systemCount - wormholes, 30_000_001, 30_005_500),
    ...random.distinct(wormholes, 31_000_001, 31_002_604),
  ]
  shuffle(systemIds, random)

  const corporationCount = allianceCorporations + independentCorporations
  const corporationIds = random.distinct(corporationCount, 98_000_001, 98_799_999)
  const allianceIds = random.distinct(allianceCount, 99_000_001, 99_013_500)
  const pilotCount = Math.max(pilotsAtLeast, Math.round(killmailCount * pilotsPerKillmail))
  const characterIds = random.distinct(pilotCount, 2_112_000_001, 2_124_000_000)

  const allianceRank = zipf(allianceCount, 0.8)
  const corporations = corporationIds.map((corporationId, index) => {
    if (index >= allianceCorporations) return { corporationId, alliance: undefined }
    // Everyone gets one corporation first; the large alliances get the rest.
    return { corporationId, alliance: index < allianceCount ? index : allianceRank.draw(random) }
  })
  const members: Pilot[][] = corporations.map(() => [])
  const corporationRank = zipf(corporationCount, 0.5)
  characterIds.forEach((characterId, index) => {
    const at = index < corporationCount ? index : corporationRank.draw(random)
    const corporation = corporations[at]
    if (corporation === undefined) return
    const allianceId = corporation.alliance === undefined ? undefined : allianceIds[corporation.alliance]
    members[at]?.push({ characterId, corporationId: corporation.corporationId, ...(allianceId && { allianceId }) })
  })
  const groupOf = (wanted: number | undefined): readonly (readonly Pilot[])[] =>
    members.filter((_, at) => corporations[at]?.alliance === wanted)

  return {
    systemIds,
    systemRank: zipf(systemCount, measuredSystems.slope),
    alliances: allianceIds.map((_, alliance) => ({ corporations: groupOf(alliance) })),
    allianceRank,
    independents: groupOf(undefined).map((corporation) => ({ corporations: [corporation] })),
    independentRank: zipf(independentCorporations, 0.6),
    shipTypeIds: random.distinct(shipTypeCount, 582, 54_733),
    shipRank: zipf(shipTypeCount, 1),
    npcCorporationIds: random.distinct(20, 1_000_002, 1_000_300),
  }
}

function shuffle(items: unknown[], random: Random): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = random.integer(0, last)
    ;[items[last], items[other]] = [items[other], items[last]]
  }
}
