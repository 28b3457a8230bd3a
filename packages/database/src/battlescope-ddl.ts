/**
 * A database like BattleScope's, for tests and demonstrations: its names, types, keys, defaults and indexes, and its traps: no index on
 * `killmail_events.battle_id` nor on `occurred_at`, killmails that their pilots' history does not let go, tables that belong together
 * without a foreign key.
 */
export const battlescopeDdl = `
CREATE TYPE public.security_type AS ENUM ('highsec', 'lowsec', 'nullsec', 'wormhole', 'pochven');

CREATE TABLE public.battles (
  id uuid PRIMARY KEY,
  system_id bigint NOT NULL,
  start_time timestamptz NOT NULL,
  end_time timestamptz NOT NULL,
  total_kills bigint NOT NULL,
  total_isk_destroyed numeric NOT NULL DEFAULT 0,
  zkill_related_url text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  security_type public.security_type
);
CREATE INDEX battles_system_time_idx ON public.battles (system_id, start_time, end_time);

CREATE TABLE public.killmail_events (
  killmail_id bigint PRIMARY KEY,
  system_id bigint NOT NULL,
  occurred_at timestamptz NOT NULL,
  victim_alliance_id bigint,
  victim_corp_id bigint,
  victim_character_id bigint,
  attacker_character_ids bigint[] NOT NULL DEFAULT '{}',
  isk_value numeric,
  zkb_url text NOT NULL,
  fetched_at timestamptz NOT NULL DEFAULT now(),
  processed_at timestamptz,
  battle_id uuid REFERENCES public.battles (id) ON DELETE SET NULL,
  attacker_alliance_ids bigint[] NOT NULL DEFAULT '{}',
  attacker_corp_ids bigint[] NOT NULL DEFAULT '{}'
);
CREATE INDEX killmail_events_processed_idx ON public.killmail_events (processed_at);
CREATE INDEX killmail_events_system_time_idx ON public.killmail_events (system_id, occurred_at);

CREATE TABLE public.killmail_enrichments (
  killmail_id bigint PRIMARY KEY,
  status text NOT NULL DEFAULT 'pending',
  payload jsonb,
  error text,
  fetched_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX killmail_enrichments_status_idx ON public.killmail_enrichments (status);

CREATE TABLE public.battle_killmails (
  battle_id uuid NOT NULL REFERENCES public.battles (id) ON DELETE CASCADE,
  killmail_id bigint NOT NULL,
  zkb_url text NOT NULL,
  occurred_at timestamptz NOT NULL,
  victim_alliance_id bigint,
  isk_value numeric,
  side_id bigint,
  attacker_alliance_ids bigint[] NOT NULL,
  CONSTRAINT battle_killmails_pk PRIMARY KEY (battle_id, killmail_id)
);
CREATE INDEX battle_killmails_killmail_id_idx ON public.battle_killmails (killmail_id);

CREATE TABLE public.battle_participants (
  battle_id uuid NOT NULL REFERENCES public.battles (id) ON DELETE CASCADE,
  character_id bigint NOT NULL,
  alliance_id bigint,
  corp_id bigint,
  ship_type_id bigint NOT NULL,
  side_id bigint,
  is_victim boolean NOT NULL DEFAULT false,
  CONSTRAINT battle_participants_pk PRIMARY KEY (battle_id, character_id)
);
CREATE INDEX battle_participants_character_idx ON public.battle_participants (character_id, battle_id);

CREATE TABLE public.pilot_ship_history (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  killmail_id bigint NOT NULL REFERENCES public.killmail_events (killmail_id),
  character_id bigint NOT NULL,
  ship_type_id bigint NOT NULL,
  alliance_id bigint,
  corp_id bigint,
  system_id bigint NOT NULL,
  is_loss boolean NOT NULL,
  ship_value bigint,
  killmail_value bigint,
  occurred_at timestamptz NOT NULL,
  zkb_url text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT unique_pilot_killmail UNIQUE (killmail_id, character_id)
);
CREATE INDEX idx_pilot_ship_history_character ON public.pilot_ship_history (character_id);
CREATE INDEX idx_pilot_ship_history_character_losses ON public.pilot_ship_history (character_id) WHERE is_loss;
CREATE INDEX idx_pilot_ship_history_character_ship ON public.pilot_ship_history (character_id, ship_type_id);
CREATE INDEX idx_pilot_ship_history_occurred_at ON public.pilot_ship_history (occurred_at DESC);
CREATE INDEX idx_pilot_ship_history_ship_type ON public.pilot_ship_history (ship_type_id);

CREATE TABLE public.rulesets (
  id uuid PRIMARY KEY,
  min_pilots int NOT NULL DEFAULT 1,
  tracked_alliance_ids bigint[] NOT NULL,
  tracked_corp_ids bigint[] NOT NULL,
  tracked_system_ids bigint[] NOT NULL,
  tracked_security_types text[] NOT NULL,
  ignore_unlisted boolean NOT NULL DEFAULT false,
  updated_by text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE TABLE public.accounts (
  id uuid PRIMARY KEY,
  email text UNIQUE,
  display_name text NOT NULL,
  primary_character_id uuid,
  is_blocked boolean NOT NULL,
  is_deleted boolean NOT NULL,
  is_super_admin boolean NOT NULL,
  last_login_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE TABLE public.characters (
  id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES public.accounts (id) ON DELETE CASCADE,
  eve_character_id bigint NOT NULL UNIQUE,
  eve_character_name text NOT NULL,
  corp_id bigint NOT NULL,
  corp_name text NOT NULL,
  alliance_id bigint,
  alliance_name text,
  portrait_url text,
  esi_access_token bytea,
  esi_refresh_token bytea,
  esi_token_expires_at timestamptz,
  scopes text[] NOT NULL,
  last_verified_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX idx_characters_account_id ON public.characters (account_id);
CREATE INDEX idx_characters_corp_id ON public.characters (corp_id);
CREATE INDEX idx_characters_alliance_id ON public.characters (alliance_id);
CREATE INDEX idx_characters_eve_character_id ON public.characters (eve_character_id);
ALTER TABLE public.accounts ADD CONSTRAINT accounts_primary_character_id_fkey
  FOREIGN KEY (primary_character_id) REFERENCES public.characters (id) ON DELETE SET NULL;

CREATE TABLE public.audit_logs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  actor_account_id uuid REFERENCES public.accounts (id) ON DELETE SET NULL,
  action text NOT NULL,
  target_type text NOT NULL,
  target_id text NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_audit_logs_actor_account_id ON public.audit_logs (actor_account_id);
CREATE INDEX idx_audit_logs_action ON public.audit_logs (action);
CREATE INDEX idx_audit_logs_created_at ON public.audit_logs (created_at);

CREATE TABLE public.features (
  id uuid PRIMARY KEY,
  key text NOT NULL UNIQUE,
  name text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE TABLE public.roles (
  id uuid PRIMARY KEY,
  key text NOT NULL UNIQUE,
  rank int NOT NULL
);

CREATE TABLE public.account_feature_roles (
  account_id uuid NOT NULL REFERENCES public.accounts (id) ON DELETE CASCADE,
  feature_id uuid NOT NULL REFERENCES public.features (id) ON DELETE CASCADE,
  role_id uuid NOT NULL REFERENCES public.roles (id) ON DELETE CASCADE,
  granted_at timestamptz NOT NULL,
  PRIMARY KEY (account_id, feature_id)
);

CREATE TABLE public.feature_settings (
  feature_id uuid NOT NULL REFERENCES public.features (id) ON DELETE CASCADE,
  key text NOT NULL,
  value jsonb,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (feature_id, key)
);

CREATE TABLE public.auth_config (
  id uuid PRIMARY KEY,
  require_membership boolean NOT NULL,
  allowed_corp_ids bigint[] NOT NULL,
  allowed_alliance_ids bigint[] NOT NULL,
  updated_at timestamptz NOT NULL
);

CREATE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;
CREATE TRIGGER accounts_set_updated_at BEFORE UPDATE ON public.accounts
  FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER characters_set_updated_at BEFORE UPDATE ON public.characters
  FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER features_set_updated_at BEFORE UPDATE ON public.features
  FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER feature_settings_set_updated_at BEFORE UPDATE ON public.feature_settings
  FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER auth_config_set_updated_at BEFORE UPDATE ON public.auth_config
  FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
`
