/**
 * BattleScope's tables, under their qualified names: a search path cannot be pinned on a pooled connection. An installation may lack
 * tables or have more columns; types do not tell which. A test holds these types against a real database made by battlescope-ddl.ts.
 */
import type { Generated } from 'kysely'
import type {
  GeneratedInt8List,
  GeneratedJson,
  GeneratedNumeric,
  GeneratedTimestamp,
  Int8,
  Int8List,
  NullableInt8,
  NullableJson,
  NullableNumeric,
  NullableTimestamp,
  Timestamp,
} from './column-types.js'

export interface BattleScopeDatabase {
  'public.account_feature_roles': AccountFeatureRoleTable
  'public.accounts': AccountTable
  'public.audit_logs': AuditLogTable
  'public.auth_config': AuthConfigTable
  'public.battle_killmails': BattleKillmailTable
  'public.battle_participants': BattleParticipantTable
  'public.battles': BattleTable
  'public.characters': CharacterTable
  'public.feature_settings': FeatureSettingTable
  'public.features': FeatureTable
  'public.killmail_enrichments': KillmailEnrichmentTable
  'public.killmail_events': KillmailEventTable
  'public.pilot_ship_history': PilotShipHistoryTable
  'public.roles': RoleTable
  'public.rulesets': RulesetTable
}

export type SecurityType = 'highsec' | 'lowsec' | 'nullsec' | 'wormhole' | 'pochven'

export interface KillmailEventTable {
  killmail_id: Int8
  system_id: Int8
  occurred_at: Timestamp
  victim_alliance_id: NullableInt8
  victim_corp_id: NullableInt8
  victim_character_id: NullableInt8
  attacker_character_ids: GeneratedInt8List
  isk_value: NullableNumeric
  zkb_url: string
  fetched_at: GeneratedTimestamp
  /** Set by the clusterer, whether or not the killmail became part of a battle. */
  processed_at: NullableTimestamp
  battle_id: string | null
  attacker_alliance_ids: GeneratedInt8List
  attacker_corp_ids: GeneratedInt8List
}

export interface KillmailEnrichmentTable {
  killmail_id: Int8
  /** `pending`, `processing`, `succeeded` or `failed`; the database does not enforce it. */
  status: Generated<string>
  payload: NullableJson
  error: string | null
  fetched_at: NullableTimestamp
  updated_at: GeneratedTimestamp
  created_at: GeneratedTimestamp
}

export interface BattleTable {
  id: string
  system_id: Int8
  start_time: Timestamp
  end_time: Timestamp
  total_kills: Int8
  total_isk_destroyed: GeneratedNumeric
  zkill_related_url: string
  created_at: GeneratedTimestamp
  security_type: SecurityType | null
}

export interface BattleKillmailTable {
  battle_id: string
  killmail_id: Int8
  zkb_url: string
  occurred_at: Timestamp
  victim_alliance_id: NullableInt8
  isk_value: NullableNumeric
  side_id: NullableInt8
  attacker_alliance_ids: Int8List
}

export interface BattleParticipantTable {
  battle_id: string
  character_id: Int8
  alliance_id: NullableInt8
  corp_id: NullableInt8
  ship_type_id: Int8
  side_id: NullableInt8
  is_victim: Generated<boolean>
}

export interface PilotShipHistoryTable {
  id: Generated<string>
  killmail_id: Int8
  character_id: Int8
  ship_type_id: Int8
  alliance_id: NullableInt8
  corp_id: NullableInt8
  system_id: Int8
  is_loss: boolean
  ship_value: NullableInt8
  killmail_value: NullableInt8
  occurred_at: Timestamp
  zkb_url: string
  created_at: GeneratedTimestamp
}

export interface AuditLogTable {
  id: Generated<string>
  /** NULL for actions of the system itself. */
  actor_account_id: string | null
  action: string
  target_type: string
  target_id: string
  metadata: GeneratedJson
  created_at: GeneratedTimestamp
}

export interface RulesetTable {
  id: string
  min_pilots: Generated<number>
  tracked_alliance_ids: Int8List
  tracked_corp_ids: Int8List
  tracked_system_ids: Int8List
  tracked_security_types: string[]
  ignore_unlisted: Generated<boolean>
  updated_by: string | null
  created_at: Timestamp
  updated_at: Timestamp
}

export interface AccountTable {
  id: string
  email: string | null
  display_name: string
  primary_character_id: string | null
  is_blocked: boolean
  is_deleted: boolean
  is_super_admin: boolean
  last_login_at: NullableTimestamp
  created_at: Timestamp
  updated_at: Timestamp
}

export interface CharacterTable {
  id: string
  account_id: string
  eve_character_id: Int8
  eve_character_name: string
  corp_id: Int8
  corp_name: string
  alliance_id: NullableInt8
  alliance_name: string | null
  portrait_url: string | null
  esi_access_token: Buffer | null
  esi_refresh_token: Buffer | null
  esi_token_expires_at: NullableTimestamp
  scopes: string[]
  last_verified_at: NullableTimestamp
  created_at: Timestamp
  updated_at: Timestamp
}

/** Of the access-control tables below, only their existence and size matter here; their columns differ between versions. */
export interface FeatureTable {
  id: string
  key: string
  name: string
  created_at: Timestamp
  updated_at: Timestamp
}

export interface RoleTable {
  id: string
  key: string
  rank: number
}

export interface AccountFeatureRoleTable {
  account_id: string
  feature_id: string
  role_id: string
  granted_at: Timestamp
}

export interface FeatureSettingTable {
  feature_id: string
  key: string
  value: NullableJson
  updated_at: Timestamp
}

export interface AuthConfigTable {
  id: string
  require_membership: boolean
  allowed_corp_ids: Int8List
  allowed_alliance_ids: Int8List
  updated_at: Timestamp
}
