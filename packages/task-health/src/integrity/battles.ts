/** Battles against what they are made of. */
import { z } from 'zod'
import { defineCheck } from '../check.js'
import { selectTooSmall, selectWithoutParticipants, selectWrongTotals, type Sampled } from './queries.js'
import {
  battleIndexes,
  battleNeeds,
  battleOptions,
  integrityInterval,
  judgeSample,
  outcomeOf,
  position,
  sampleOf,
  unindexed,
  type Position,
} from './sampling.js'

const shared = { group: 'integrity', interval: integrityInterval, severity: 'warning', holdDownMs: 0 } as const

export const battleTotals = defineCheck<typeof battleOptions, Sampled, Position>({
  ...shared,
  key: 'battle-totals',
  description: 'Battles whose number of kills or ISK is not that of their killmails.',
  options: battleOptions,
  hint: 'adding to a battle is not idempotent: cluster the range again (processed_at and battle_id to NULL)',
  needs: (settings) => ({
    relations: [...battleNeeds(settings), { relation: settings.battleKillmails, columns: ['battle_id', 'isk_value'] }],
  }),
  memory: position,
  read: async (context, options) => {
    const { settings, db } = context
    const obstacle = unindexed(context, [...battleIndexes(settings), [settings.battleKillmails, 'battle_id']])
    return obstacle ?? outcomeOf(await selectWrongTotals(db, settings, sampleOf(context, options)))
  },
  judge: (sampled, options) =>
    judgeSample(sampled, options, { nouns: 'battles', problem: 'have totals that are not those of their killmails' }),
})

const smallOptions = {
  ...battleOptions,
  kills: z.number().int().min(1).max(1000).default(2).describe('The fewest kills of a battle: CLUSTER_MIN_KILLS.'),
}

export const battlesTooSmall = defineCheck<typeof smallOptions, Sampled, Position>({
  ...shared,
  key: 'battles-too-small',
  description: 'Battles with fewer kills than a battle must have.',
  options: smallOptions,
  hint: 'were killmails deleted under them? Such battles can be deleted, or their range clustered again',
  needs: (settings) => ({
    relations: [...battleNeeds(settings), { relation: settings.battleKillmails, columns: ['battle_id'] }],
  }),
  memory: position,
  read: async (context, options) => {
    const { settings, db } = context
    const obstacle = unindexed(context, [...battleIndexes(settings), [settings.battleKillmails, 'battle_id']])
    return obstacle ?? outcomeOf(await selectTooSmall(db, settings, sampleOf(context, options), options.kills))
  },
  judge: (sampled, options) =>
    judgeSample(sampled, options, { nouns: 'battles', problem: `have fewer than ${options.kills} kills` }),
})

export const battlesWithoutParticipants = defineCheck<typeof battleOptions, Sampled, Position>({
  ...shared,
  key: 'battles-without-participants',
  description: 'Battles in which nobody took part.',
  options: battleOptions,
  hint: 'participants whose ship is unknown are not saved: were the enrichments late, or failed?',
  needs: (settings) => ({
    relations: [...battleNeeds(settings), { relation: settings.battleParticipants, columns: ['battle_id'] }],
  }),
  memory: position,
  read: async (context, options) => {
    const { settings, db } = context
    const obstacle = unindexed(context, [...battleIndexes(settings), [settings.battleParticipants, 'battle_id']])
    return obstacle ?? outcomeOf(await selectWithoutParticipants(db, settings, sampleOf(context, options)))
  },
  judge: (sampled, options) => judgeSample(sampled, options, { nouns: 'battles', problem: 'have no participants' }),
})
