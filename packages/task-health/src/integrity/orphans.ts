/** Rows that belong to something which is not there. */
import { defineCheck } from '../check.js'
import { selectUnknownToBattle, selectWithoutBattle, selectWithoutKillmail, type Sampled } from './queries.js'
import {
  integrityInterval,
  judgeSample,
  lastLook,
  newestOptions,
  outcomeOf,
  position,
  rowOptions,
  sampleOf,
  unindexed,
  type Position,
} from './sampling.js'

const shared = { group: 'integrity', interval: integrityInterval, severity: 'warning', holdDownMs: 0 } as const

export const orphanedParticipants = defineCheck<typeof rowOptions, Sampled, Position>({
  ...shared,
  key: 'orphaned-participants',
  description: 'Battles that have participants, and are not there.',
  options: rowOptions,
  hint: 'a foreign key prevents it: is the one of battle_participants missing, or NOT VALID?',
  needs: ({ battles, battleParticipants }) => ({
    relations: [
      { relation: battles, columns: ['id'] },
      { relation: battleParticipants, columns: ['battle_id'] },
    ],
  }),
  memory: position,
  read: async (context, { window }) => {
    const { settings, db, memory } = context
    const { battles, battleParticipants } = settings
    const obstacle = unindexed(context, [
      [battles, 'id'],
      [battleParticipants, 'battle_id'],
    ])
    const from = { window, ...lastLook(memory) }
    return obstacle ?? outcomeOf(await selectWithoutBattle(db, settings, battleParticipants, from))
  },
  judge: (sampled, options) =>
    judgeSample(sampled, options, { nouns: 'battles of participants', problem: 'do not exist' }),
})

export const orphanedBattleKillmails = defineCheck<typeof rowOptions, Sampled, Position>({
  ...shared,
  key: 'orphaned-battle-killmails',
  description: 'Killmails that a battle counts, and that are not there.',
  options: rowOptions,
  hint: 'killmails were deleted without what belongs to them; the task retention does it in the right order',
  needs: ({ killmails, battleKillmails }) => ({
    relations: [
      { relation: killmails, columns: ['killmail_id'] },
      { relation: battleKillmails, columns: ['killmail_id'] },
    ],
  }),
  memory: position,
  read: async (context, { window }) => {
    const { settings, db, memory } = context
    const { killmails, battleKillmails } = settings
    const obstacle = unindexed(context, [
      [killmails, 'killmail_id'],
      [battleKillmails, 'killmail_id'],
    ])
    const from = { window, ...lastLook(memory) }
    return obstacle ?? outcomeOf(await selectWithoutKillmail(db, settings, battleKillmails, from))
  },
  judge: (sampled, options) =>
    judgeSample(sampled, options, { nouns: 'killmails of battles', problem: 'do not exist' }),
})

export const orphanedEnrichments = defineCheck<typeof rowOptions, Sampled, Position>({
  ...shared,
  key: 'orphaned-enrichments',
  description: 'Enrichments of killmails that are not there.',
  options: rowOptions,
  hint: 'killmails were deleted without what belongs to them; the task retention does it in the right order',
  needs: ({ killmails, enrichments }) => ({
    relations: [
      { relation: killmails, columns: ['killmail_id'] },
      { relation: enrichments, columns: ['killmail_id'] },
    ],
  }),
  memory: position,
  read: async (context, { window }) => {
    const { settings, db, memory } = context
    const { killmails, enrichments } = settings
    const obstacle = unindexed(context, [
      [killmails, 'killmail_id'],
      [enrichments, 'killmail_id'],
    ])
    const from = { window, ...lastLook(memory) }
    return obstacle ?? outcomeOf(await selectWithoutKillmail(db, settings, enrichments, from))
  },
  judge: (sampled, options) => judgeSample(sampled, options, { nouns: 'enrichments', problem: 'have no killmail' }),
})

export const killmailsUnknownToBattle = defineCheck<typeof newestOptions, Sampled, Position>({
  ...shared,
  key: 'killmails-unknown-to-battle',
  description: 'Killmails that name a battle which does not count them.',
  options: newestOptions,
  hint: 'the clusterer stopped between two of its steps: cluster the range again (processed_at and battle_id to NULL)',
  needs: ({ killmails, battleKillmails }) => ({
    relations: [
      { relation: killmails, columns: ['killmail_id', 'battle_id', 'processed_at'] },
      { relation: battleKillmails, columns: ['battle_id', 'killmail_id'] },
    ],
  }),
  memory: position,
  read: async (context, { newest }) => {
    const { settings, db } = context
    const { killmails, battleKillmails } = settings
    const obstacle = unindexed(context, [
      [killmails, 'killmail_id'],
      [battleKillmails, 'battle_id'],
    ])
    const sample = sampleOf(context, { newest, window: 1 })
    return obstacle ?? outcomeOf(await selectUnknownToBattle(db, settings, sample))
  },
  judge: (sampled, options) =>
    judgeSample(sampled, options, { nouns: 'killmails with a battle', problem: 'are unknown to it' }),
})
