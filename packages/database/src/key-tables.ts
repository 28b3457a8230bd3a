/** BattleScope's key tables: what its queries join and filter, what changes all day, and what retention deletes from. */
export const keyTables: readonly string[] = [
  'public.killmail_events',
  'public.killmail_enrichments',
  'public.battles',
  'public.battle_killmails',
  'public.battle_participants',
  'public.pilot_ship_history',
]
