/** The five rollups, and what each is counted from. Pure. */

export const rollupNames = ['system', 'alliance', 'corporation', 'ship-type', 'security-type'] as const
export type RollupName = (typeof rollupNames)[number]

/** A relation of BattleScope's that rollups are counted from. */
export const sourceNames = [
  'killmail_events',
  'pilot_ship_history',
  'battles',
  'battle_killmails',
  'battle_participants',
] as const
export type SourceName = (typeof sourceNames)[number]

/** Retention's, by what it deletes first of all. */
export type Policy = 'killmails' | 'battles'

export interface Rollup {
  readonly name: RollupName
  /** In the scheduler's schema. */
  readonly table: `statistics_by_${string}`
  /** Its column beside `day`. */
  readonly key: string
  /** What its killmails and ISK are counted from. */
  readonly killmailSource: SourceName
  /**
   * Whose archive freezes them: that of killmails, or that of battles. Only security types are counted from what belongs to a battle alone,
   * because a killmail by itself has none.
   */
  readonly killmailPolicy: Policy
}

export const rollups: readonly Rollup[] = [
  {
    name: 'system',
    table: 'statistics_by_system',
    key: 'system_id',
    killmailSource: 'killmail_events',
    killmailPolicy: 'killmails',
  },
  {
    name: 'alliance',
    table: 'statistics_by_alliance',
    key: 'alliance_id',
    killmailSource: 'killmail_events',
    killmailPolicy: 'killmails',
  },
  {
    name: 'corporation',
    table: 'statistics_by_corporation',
    key: 'corporation_id',
    killmailSource: 'killmail_events',
    killmailPolicy: 'killmails',
  },
  {
    name: 'ship-type',
    table: 'statistics_by_ship_type',
    key: 'ship_type_id',
    killmailSource: 'pilot_ship_history',
    killmailPolicy: 'killmails',
  },
  {
    name: 'security-type',
    table: 'statistics_by_security_type',
    key: 'security_type',
    killmailSource: 'battle_killmails',
    killmailPolicy: 'battles',
  },
]

/** The columns that are read of each source. One that lacks any of them counts as absent. */
export const sourceColumns: Readonly<Record<SourceName, readonly string[]>> = {
  killmail_events: [
    'killmail_id',
    'system_id',
    'occurred_at',
    'victim_alliance_id',
    'victim_corp_id',
    'attacker_alliance_ids',
    'attacker_corp_ids',
    'isk_value',
  ],
  pilot_ship_history: ['killmail_id', 'ship_type_id', 'is_loss', 'killmail_value', 'occurred_at'],
  battles: ['id', 'system_id', 'start_time', 'total_kills', 'total_isk_destroyed', 'security_type'],
  battle_killmails: ['battle_id', 'killmail_id', 'isk_value'],
  battle_participants: ['battle_id', 'character_id', 'alliance_id', 'corp_id', 'ship_type_id'],
}
