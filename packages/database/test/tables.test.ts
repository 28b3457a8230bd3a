import type { Kysely } from 'kysely'
import { createTestDatabase, sharedServer, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { battlescopeDdl } from '../src/battlescope-ddl.js'
import { openConnections, type BattleScopeDatabase, type CatalogDatabase } from '../src/index.js'

/** Every column of every type, complete by the compiler's word. `!` is NOT NULL, `=` has a default. */
const columns: { readonly [T in keyof BattleScopeDatabase]: Record<keyof BattleScopeDatabase[T], string> } = {
  'public.killmail_events': {
    killmail_id: 'int8!',
    system_id: 'int8!',
    occurred_at: 'timestamptz!',
    victim_alliance_id: 'int8',
    victim_corp_id: 'int8',
    victim_character_id: 'int8',
    attacker_character_ids: '_int8!=',
    isk_value: 'numeric',
    zkb_url: 'text!',
    fetched_at: 'timestamptz!=',
    processed_at: 'timestamptz',
    battle_id: 'uuid',
    attacker_alliance_ids: '_int8!=',
    attacker_corp_ids: '_int8!=',
  },
  'public.killmail_enrichments': {
    killmail_id: 'int8!',
    status: 'text!=',
    payload: 'jsonb',
    error: 'text',
    fetched_at: 'timestamptz',
    updated_at: 'timestamptz!=',
    created_at: 'timestamptz!=',
  },
  'public.battles': {
    id: 'uuid!',
    system_id: 'int8!',
    start_time: 'timestamptz!',
    end_time: 'timestamptz!',
    total_kills: 'int8!',
    total_isk_destroyed: 'numeric!=',
    zkill_related_url: 'text!',
    created_at: 'timestamptz!=',
    security_type: 'security_type',
  },
  'public.battle_killmails': {
    battle_id: 'uuid!',
    killmail_id: 'int8!',
    zkb_url: 'text!',
    occurred_at: 'timestamptz!',
    victim_alliance_id: 'int8',
    isk_value: 'numeric',
    side_id: 'int8',
    attacker_alliance_ids: '_int8!',
  },
  'public.battle_participants': {
    battle_id: 'uuid!',
    character_id: 'int8!',
    alliance_id: 'int8',
    corp_id: 'int8',
    ship_type_id: 'int8!',
    side_id: 'int8',
    is_victim: 'bool!=',
  },
  'public.pilot_ship_history': {
    id: 'uuid!=',
    killmail_id: 'int8!',
    character_id: 'int8!',
    ship_type_id: 'int8!',
    alliance_id: 'int8',
    corp_id: 'int8',
    system_id: 'int8!',
    is_loss: 'bool!',
    ship_value: 'int8',
    killmail_value: 'int8',
    occurred_at: 'timestamptz!',
    zkb_url: 'text!',
    created_at: 'timestamptz!=',
  },
  'public.audit_logs': {
    id: 'uuid!=',
    actor_account_id: 'uuid',
    action: 'text!',
    target_type: 'text!',
    target_id: 'text!',
    metadata: 'jsonb!=',
    created_at: 'timestamptz!=',
  },
  'public.rulesets': {
    id: 'uuid!',
    min_pilots: 'int4!=',
    tracked_alliance_ids: '_int8!',
    tracked_corp_ids: '_int8!',
    tracked_system_ids: '_int8!',
    tracked_security_types: '_text!',
    ignore_unlisted: 'bool!=',
    updated_by: 'text',
    created_at: 'timestamptz!',
    updated_at: 'timestamptz!',
  },
  'public.accounts': {
    id: 'uuid!',
    email: 'text',
    display_name: 'text!',
    primary_character_id: 'uuid',
    is_blocked: 'bool!',
    is_deleted: 'bool!',
    is_super_admin: 'bool!',
    last_login_at: 'timestamptz',
    created_at: 'timestamptz!',
    updated_at: 'timestamptz!',
  },
  'public.characters': {
    id: 'uuid!',
    account_id: 'uuid!',
    eve_character_id: 'int8!',
    eve_character_name: 'text!',
    corp_id: 'int8!',
    corp_name: 'text!',
    alliance_id: 'int8',
    alliance_name: 'text',
    portrait_url: 'text',
    esi_access_token: 'bytea',
    esi_refresh_token: 'bytea',
    esi_token_expires_at: 'timestamptz',
    scopes: '_text!',
    last_verified_at: 'timestamptz',
    created_at: 'timestamptz!',
    updated_at: 'timestamptz!',
  },
  'public.features': {
    id: 'uuid!',
    key: 'text!',
    name: 'text!',
    created_at: 'timestamptz!',
    updated_at: 'timestamptz!',
  },
  'public.roles': { id: 'uuid!', key: 'text!', rank: 'int4!' },
  'public.account_feature_roles': {
    account_id: 'uuid!',
    feature_id: 'uuid!',
    role_id: 'uuid!',
    granted_at: 'timestamptz!',
  },
  'public.feature_settings': { feature_id: 'uuid!', key: 'text!', value: 'jsonb', updated_at: 'timestamptz!' },
  'public.auth_config': {
    id: 'uuid!',
    require_membership: 'bool!',
    allowed_corp_ids: '_int8!',
    allowed_alliance_ids: '_int8!',
    updated_at: 'timestamptz!',
  },
}

/** What each column of the catalog comes as in JavaScript, complete by the compiler's word; `?` may be null. */
const catalog: { readonly [T in keyof CatalogDatabase]: Record<keyof CatalogDatabase[T], string> } = {
  'pg_catalog.pg_class': {
    oid: 'number',
    relname: 'string',
    relnamespace: 'number',
    relowner: 'number',
    relfilenode: 'number',
    relpages: 'number',
    reltuples: 'number',
    reltoastrelid: 'number',
    relhasindex: 'boolean',
    relisshared: 'boolean',
    relpersistence: 'string',
    relkind: 'string',
    relispartition: 'boolean',
    reloptions: 'array?',
  },
  'pg_catalog.pg_namespace': { oid: 'number', nspname: 'string', nspowner: 'number' },
  'pg_catalog.pg_attribute': {
    attrelid: 'number',
    attname: 'string',
    atttypid: 'number',
    attnum: 'number',
    attnotnull: 'boolean',
    atthasdef: 'boolean',
    attisdropped: 'boolean',
  },
  'pg_catalog.pg_inherits': { inhrelid: 'number', inhparent: 'number', inhdetachpending: 'boolean' },
  'pg_catalog.pg_index': {
    indexrelid: 'number',
    indrelid: 'number',
    indisunique: 'boolean',
    indisprimary: 'boolean',
    indisexclusion: 'boolean',
    indisvalid: 'boolean',
    indisready: 'boolean',
    indislive: 'boolean',
  },
  'pg_catalog.pg_constraint': {
    oid: 'number',
    conname: 'string',
    contype: 'string',
    conrelid: 'number',
    confrelid: 'number',
    confdeltype: 'string',
    condeferrable: 'boolean',
    convalidated: 'boolean',
    conkey: 'array?',
    confkey: 'array?',
  },
  'pg_catalog.pg_stat_all_tables': statTables(),
  'pg_catalog.pg_stat_user_tables': statTables(),
  'pg_catalog.pg_stat_user_indexes': {
    relid: 'number',
    indexrelid: 'number',
    schemaname: 'string',
    relname: 'string',
    indexrelname: 'string',
    idx_scan: 'string',
  },
  'pg_catalog.pg_stat_activity': {
    datid: 'number?',
    datname: 'string?',
    pid: 'number',
    usesysid: 'number?',
    usename: 'string?',
    application_name: 'string',
    backend_start: 'date?',
    xact_start: 'date?',
    query_start: 'date?',
    state_change: 'date?',
    wait_event_type: 'string?',
    wait_event: 'string?',
    state: 'string?',
    backend_xid: 'string?',
    backend_xmin: 'string?',
    query: 'string',
    backend_type: 'string',
  },
  'pg_catalog.pg_stat_progress_create_index': {
    pid: 'number',
    datname: 'string',
    relid: 'number',
    index_relid: 'number',
    command: 'string',
    phase: 'string',
    blocks_total: 'string',
    blocks_done: 'string',
    tuples_total: 'string',
    tuples_done: 'string',
  },
  'pg_catalog.pg_locks': {
    locktype: 'string',
    database: 'number?',
    relation: 'number?',
    pid: 'number?',
    mode: 'string',
    granted: 'boolean',
  },
  'pg_catalog.pg_settings': {
    name: 'string',
    setting: 'string?',
    unit: 'string?',
    context: 'string',
    vartype: 'string',
    source: 'string',
    pending_restart: 'boolean',
  },
  'pg_catalog.pg_roles': {
    oid: 'number',
    rolname: 'string',
    rolsuper: 'boolean',
    rolinherit: 'boolean',
    rolcanlogin: 'boolean',
    rolconnlimit: 'number',
  },
  'pg_catalog.pg_database': {
    oid: 'number',
    datname: 'string',
    datdba: 'number',
    datistemplate: 'boolean',
    datallowconn: 'boolean',
  },
  'pg_catalog.pg_prepared_xacts': { gid: 'string', prepared: 'date', owner: 'string', database: 'string' },
  'pg_catalog.pg_replication_slots': {
    slot_name: 'string',
    slot_type: 'string',
    database: 'string?',
    active: 'boolean',
    restart_lsn: 'string?',
    wal_status: 'string?',
  },
}

function statTables(): Record<keyof CatalogDatabase['pg_catalog.pg_stat_user_tables'], string> {
  return {
    relid: 'number',
    schemaname: 'string',
    relname: 'string',
    seq_scan: 'string',
    seq_tup_read: 'string',
    idx_scan: 'string?',
    n_tup_ins: 'string',
    n_tup_upd: 'string',
    n_tup_del: 'string',
    n_live_tup: 'string',
    n_dead_tup: 'string',
    n_mod_since_analyze: 'string',
    n_ins_since_vacuum: 'string',
    last_vacuum: 'date?',
    last_autovacuum: 'date?',
    last_analyze: 'date?',
    last_autoanalyze: 'date?',
    vacuum_count: 'string',
    autovacuum_count: 'string',
    analyze_count: 'string',
    autoanalyze_count: 'string',
  }
}

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase({
      server: await sharedServer(major),
      template: { name: 'battlescope', build: battlescopeDdl },
    })
  })
  afterAll(() => database.drop())

  it('has exactly the columns that the types tell', async () => {
    const rows = await database.query<{ table: string; column: string; type: string }>(
      `select table_schema || '.' || table_name as table, column_name::text as column,
         udt_name || case when is_nullable = 'NO' then '!' else '' end || case when column_default is null then '' else '=' end as type
       from information_schema.columns where table_schema = 'public'`,
    )
    const actual: Record<string, Record<string, string>> = {}
    for (const { table, column, type } of rows) (actual[table] ??= {})[column] = type
    expect(actual).toEqual(columns)
  })

  it('has the keys, indexes and foreign keys of BattleScope, traps included', async () => {
    const indexes = await database.query<{ definition: string }>(
      `select replace(pg_get_indexdef(indexrelid), ' USING btree', '') as definition from pg_index i
       join pg_class c on c.oid = indrelid where relnamespace = 'public'::regnamespace
         and relname in ('killmail_events', 'killmail_enrichments', 'battles', 'battle_killmails', 'battle_participants', 'pilot_ship_history', 'audit_logs')
       order by 1`,
    )
    expect(indexes.map(({ definition }) => definition)).toEqual([
      'CREATE INDEX battle_killmails_killmail_id_idx ON public.battle_killmails (killmail_id)',
      'CREATE INDEX battle_participants_character_idx ON public.battle_participants (character_id, battle_id)',
      'CREATE INDEX battles_system_time_idx ON public.battles (system_id, start_time, end_time)',
      'CREATE INDEX idx_audit_logs_action ON public.audit_logs (action)',
      'CREATE INDEX idx_audit_logs_actor_account_id ON public.audit_logs (actor_account_id)',
      'CREATE INDEX idx_audit_logs_created_at ON public.audit_logs (created_at)',
      'CREATE INDEX idx_pilot_ship_history_character ON public.pilot_ship_history (character_id)',
      'CREATE INDEX idx_pilot_ship_history_character_losses ON public.pilot_ship_history (character_id) WHERE is_loss',
      'CREATE INDEX idx_pilot_ship_history_character_ship ON public.pilot_ship_history (character_id, ship_type_id)',
      'CREATE INDEX idx_pilot_ship_history_occurred_at ON public.pilot_ship_history (occurred_at DESC)',
      'CREATE INDEX idx_pilot_ship_history_ship_type ON public.pilot_ship_history (ship_type_id)',
      'CREATE INDEX killmail_enrichments_status_idx ON public.killmail_enrichments (status)',
      'CREATE INDEX killmail_events_processed_idx ON public.killmail_events (processed_at)',
      'CREATE INDEX killmail_events_system_time_idx ON public.killmail_events (system_id, occurred_at)',
      'CREATE UNIQUE INDEX audit_logs_pkey ON public.audit_logs (id)',
      'CREATE UNIQUE INDEX battle_killmails_pk ON public.battle_killmails (battle_id, killmail_id)',
      'CREATE UNIQUE INDEX battle_participants_pk ON public.battle_participants (battle_id, character_id)',
      'CREATE UNIQUE INDEX battles_pkey ON public.battles (id)',
      'CREATE UNIQUE INDEX killmail_enrichments_pkey ON public.killmail_enrichments (killmail_id)',
      'CREATE UNIQUE INDEX killmail_events_pkey ON public.killmail_events (killmail_id)',
      'CREATE UNIQUE INDEX pilot_ship_history_pkey ON public.pilot_ship_history (id)',
      'CREATE UNIQUE INDEX unique_pilot_killmail ON public.pilot_ship_history (killmail_id, character_id)',
    ])
    const foreignKeys = await database.query<{ key: string }>(
      `select conrelid::regclass || ': ' || pg_get_constraintdef(oid) as key from pg_constraint
       where contype = 'f' and connamespace = 'public'::regnamespace order by 1`,
    )
    expect(foreignKeys.map(({ key }) => key)).toEqual([
      'account_feature_roles: FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE',
      'account_feature_roles: FOREIGN KEY (feature_id) REFERENCES features(id) ON DELETE CASCADE',
      'account_feature_roles: FOREIGN KEY (role_id) REFERENCES roles(id) ON DELETE CASCADE',
      'accounts: FOREIGN KEY (primary_character_id) REFERENCES characters(id) ON DELETE SET NULL',
      'audit_logs: FOREIGN KEY (actor_account_id) REFERENCES accounts(id) ON DELETE SET NULL',
      'battle_killmails: FOREIGN KEY (battle_id) REFERENCES battles(id) ON DELETE CASCADE',
      'battle_participants: FOREIGN KEY (battle_id) REFERENCES battles(id) ON DELETE CASCADE',
      'characters: FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE',
      'feature_settings: FOREIGN KEY (feature_id) REFERENCES features(id) ON DELETE CASCADE',
      'killmail_events: FOREIGN KEY (battle_id) REFERENCES battles(id) ON DELETE SET NULL',
      'pilot_ship_history: FOREIGN KEY (killmail_id) REFERENCES killmail_events(killmail_id)',
    ])
    expect(await database.query(`select enum_range(null::security_type)::text as values`)).toEqual([
      { values: '{highsec,lowsec,nullsec,wormhole,pochven}' },
    ])
  })

  it('takes inserts and gives rows in the types that are told', async () => {
    const connections = openConnections({ url: database.url, applicationName: 'tables-test' })
    await connections.transaction({ statementTimeoutMs: 10_000 }, async (session) => {
      const db: Kysely<BattleScopeDatabase> = session.db
      await db
        .insertInto('public.killmail_events')
        .values({
          killmail_id: 9_007_199_254_740_993n,
          system_id: 30000142,
          occurred_at: new Date('2026-01-02T03:04:05Z'),
          zkb_url: 'u',
          isk_value: '1.50',
          attacker_corp_ids: ['1', 2, 3n],
        })
        .execute()
      await db
        .insertInto('public.killmail_enrichments')
        .values({ killmail_id: '1', payload: JSON.stringify([{ a: 1 }]) })
        .execute()
      const event = await db.selectFrom('public.killmail_events').selectAll().executeTakeFirstOrThrow()
      expect(event).toMatchObject({
        killmail_id: '9007199254740993',
        occurred_at: new Date('2026-01-02T03:04:05Z'),
        isk_value: '1.50',
        attacker_character_ids: [],
        attacker_corp_ids: ['1', '2', '3'],
        processed_at: null,
      })
      const enrichment = await db
        .selectFrom('public.killmail_enrichments as e')
        .select(['e.status', 'e.payload'])
        .executeTakeFirstOrThrow()
      expect(enrichment).toEqual({ status: 'pending', payload: [{ a: 1 }] })
    })
    await connections.close()
  })

  it('touches updated_at of accounts', async () => {
    await database.query(
      `insert into accounts values (gen_random_uuid(), 'a@example.org', 'a', null, false, false, false, null, '2020-01-01', '2020-01-01')`,
    )
    const rows = await database.query(
      `update accounts set display_name = 'b' returning updated_at > '2020-01-02' as touched`,
    )
    expect(rows).toEqual([{ touched: true }])
  })

  it.each(Object.entries(catalog))('reads %s as its type tells', async (relation, expected) => {
    const names = Object.keys(expected)
    const rows = await database.query(`select ${names.join(', ')} from ${relation} limit 5000`)
    for (const row of rows) {
      for (const [name, type] of Object.entries(expected as Record<string, string>)) {
        const value = row[name]
        const actual =
          value === null ? 'null' : Array.isArray(value) ? 'array' : value instanceof Date ? 'date' : typeof value
        expect(type.endsWith('?') ? [type.slice(0, -1), 'null'] : [type], `${relation}.${name}`).toContain(actual)
      }
    }
  })
})
