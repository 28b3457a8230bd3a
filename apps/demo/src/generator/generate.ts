/** Killmails with the measured shape of real ones. Pure: the same options give the same killmails. */
import { capsuleTypeId, type Attacker, type Killmail } from '../killmails/killmail.js'
import { clustererDefaults } from '../clusterer.js'
import { Calendar } from './calendar.js'
import { attackerCounts, groupSizes, kinds, killmailsPerDay, values } from './measured.js'
import { Random, Weighted } from './random.js'
import { makeUniverse, type Group, type Pilot, type Universe } from './universe.js'

export interface GeneratorOptions {
  readonly count: number
  readonly seed: number
  /** Nothing happens later. */
  readonly endsAtMs: number
  /** Ids that real killmails have already. */
  readonly takenIds?: ReadonlySet<number>
  /** Default: `selectSpanMs(count)`. */
  readonly spanMs?: number
  /** The lowest id. Default: 140 000 000. */
  readonly firstId?: number
}

const weekMs = 7 * 86_400_000
/** Long enough that the busiest system's battles stay apart, and whole weeks, so that each weekday has its share. */
const leastWeeks = 8

/** How long a time the killmails cover: eight weeks, or as many as it takes to stay under what all of EVE sees in a day. */
export const selectSpanMs = (count: number): number =>
  weekMs * Math.max(leastWeeks, Math.ceil(count / killmailsPerDay / 7))

const attackerCountRange = new Weighted(attackerCounts.map(({ percent }) => percent))
const groupSizeRange = new Weighted(groupSizes.map(({ percent }) => percent))

/** A capsule follows its ship: this often, where a ship was lost before it in the same battle. Yields the measured share of pods. */
const podFollowsShip = 0.75
/** Of several attackers: one player with NPCs beside, and one NPC among players. Yields the measured shares. */
const onePlayerWithNpcs = 0.055
const npcAmongPlayers = 0.13
const npcAlone = kinds.npcOnly / (attackerCounts[0]?.percent ?? 1)
const cheapPod = values.cheap / kinds.pods

const meanGapMs = 100_000
/** EVE's ids are shared with mails that nobody publishes. */
const idSteps = { from: 1, to: 4 }

/** Makes `count` killmails in order of time, the ids rising with it. */
export function generateKillmails(options: GeneratorOptions): Killmail[] {
  const { count, seed, endsAtMs, takenIds = new Set(), spanMs = selectSpanMs(count), firstId = 140_000_000 } = options
  const random = new Random(seed)
  const universe = makeUniverse(random, count)
  const calendar = new Calendar(random, endsAtMs - spanMs, endsAtMs)
  const losses: Loss[] = []
  while (losses.length < count) {
    const size = Math.min(drawRange(groupSizes, groupSizeRange, random), count - losses.length)
    losses.push(...drawBattle(size, universe, calendar, random))
  }
  losses.sort((a, b) => a.occurredAtMs - b.occurredAtMs)
  let id = firstId
  return losses.map((loss) => {
    do id += random.integer(idSteps.from, idSteps.to)
    while (takenIds.has(id))
    return { id, ...loss }
  })
}

type Loss = Omit<Killmail, 'id'>

function drawRange(ranges: typeof groupSizes, weighted: Weighted, random: Random): number {
  const range = ranges[weighted.draw(random)]
  if (range === undefined) throw new RangeError('no ranges')
  return random.integer(range.from, range.to)
}

/** One group of the clusterer's rule: a fleet, its victims, one system, one short time. */
function drawBattle(size: number, universe: Universe, calendar: Calendar, random: Random): Loss[] {
  const systemId = universe.systemIds[universe.systemRank.draw(random)] ?? 0
  const hunters = drawGroup(kinds.attackersInAlliance, universe, random)
  const hunted = drawGroup(kinds.victimInAlliance, universe, random)
  const offsets = drawOffsetsMs(size, random)
  const startMs = calendar.place(systemId, offsets.at(-1) ?? 0)
  let ejected: Pilot | undefined
  return offsets.map((offsetMs) => {
    const podOf = ejected !== undefined && random.chance(podFollowsShip) ? ejected : undefined
    const pilot = podOf ?? drawPilot(hunted, random)
    ejected = podOf === undefined ? pilot : undefined
    return {
      occurredAtMs: startMs + offsetMs,
      systemId,
      victim: { ...pilot, shipTypeId: podOf === undefined ? drawShip(universe, random) : capsuleTypeId },
      attackers: drawAttackers(hunters, universe, random),
      valueIsk: podOf !== undefined && random.chance(cheapPod) ? values.capsuleIsk : drawValueIsk(random),
    }
  })
}

/** When each loss happens after the first, in whole seconds: within the clusterer's gap and window. */
function drawOffsetsMs(size: number, random: Random): number[] {
  const { gapMs, windowMs } = clustererDefaults
  const offsets = [0]
  while (offsets.length < size) {
    offsets.push((offsets.at(-1) ?? 0) + Math.min(5_000 + random.exponential(meanGapMs), gapMs - 1000))
  }
  const lastMs = offsets.at(-1) ?? 0
  const squeeze = lastMs > windowMs ? windowMs / lastMs : 1
  return offsets.map((offsetMs) => Math.floor((offsetMs * squeeze) / 1000) * 1000)
}

function drawGroup(percentInAlliance: number, universe: Universe, random: Random): Group {
  const group = random.chance(percentInAlliance / 100)
    ? universe.alliances[universe.allianceRank.draw(random)]
    : universe.independents[universe.independentRank.draw(random)]
  if (group === undefined) throw new RangeError('no such group')
  return group
}

/** Squared, because some pilots fly far more often than others. */
function drawPilot({ corporations }: Group, random: Random): Pilot {
  const corporation = random.pick(corporations)
  const pilot = corporation[Math.floor(random.next() ** 2 * corporation.length)]
  if (pilot === undefined) throw new RangeError('a corporation without pilots')
  return pilot
}

const drawShip = (universe: Universe, random: Random): number =>
  universe.shipTypeIds[universe.shipRank.draw(random)] ?? capsuleTypeId

/** To the cent, as zKillboard gives it. */
const drawValueIsk = (random: Random): number =>
  Math.round(Math.exp(values.mu + values.sigma * random.normal()) * 100) / 100

function drawAttackers(hunters: Group, universe: Universe, random: Random): Attacker[] {
  const count = drawRange(attackerCounts, attackerCountRange, random)
  const npcs =
    count === 1
      ? Number(random.chance(npcAlone))
      : random.chance(onePlayerWithNpcs)
        ? count - 1
        : Number(count > 2 && random.chance(npcAmongPlayers))
  const players = new Map<number, Pilot>()
  let group = hunters
  for (let attempt = 1; players.size < count - npcs; attempt++) {
    // A corporation too small for the fleet brings friends of its own kind.
    if (attempt % 40 === 0) group = drawGroup(hunters.corporations[0]?.[0]?.allianceId ? 100 : 0, universe, random)
    const pilot = drawPilot(group, random)
    players.set(pilot.characterId, pilot)
  }
  return [
    ...[...players.values()].map((pilot) => ({ ...pilot, shipTypeId: drawShip(universe, random) })),
    ...Array.from({ length: npcs }, () => ({
      corporationId: random.pick(universe.npcCorporationIds),
      shipTypeId: drawShip(universe, random),
    })),
  ]
}
