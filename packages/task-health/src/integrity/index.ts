import type { AnyCheck } from '../check.js'
import { battlesTooSmall, battlesWithoutParticipants, battleTotals } from './battles.js'
import {
  killmailsUnknownToBattle,
  orphanedBattleKillmails,
  orphanedEnrichments,
  orphanedParticipants,
} from './orphans.js'

export const integrityChecks: readonly AnyCheck[] = [
  battleTotals,
  battlesTooSmall,
  battlesWithoutParticipants,
  killmailsUnknownToBattle,
  orphanedBattleKillmails,
  orphanedParticipants,
  orphanedEnrichments,
]
