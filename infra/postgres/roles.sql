-- Roles of the scheduler, with what its tasks need and nothing else. PostgreSQL 15 and newer.
--
--   psql --single-transaction --set=ON_ERROR_STOP=1 --dbname=battlescope --file=infra/postgres/roles.sql
--
-- as a superuser. May be run again, and should be after a migration that made new tables; it takes nothing
-- away. One group role per task, all of them granted to one login role: switch a task off for good by revoking its group.
--
--   battlescope_scheduler                 logs in, owns the schema "scheduler"
--   ├─ battlescope_scheduler_analyze      may ANALYZE
--   ├─ battlescope_scheduler_cache        may delete expired rows of cache tables
--   ├─ battlescope_scheduler_cluster      may read killmails
--   ├─ battlescope_scheduler_health       may read killmails and battles, and what the server says of itself (pg_monitor)
--   ├─ battlescope_scheduler_retention    may read, lock and delete what expires
--   ├─ battlescope_scheduler_statistics   may read what is counted
--   └─ battlescope_scheduler_vacuum       may VACUUM
--
-- Afterwards: \password battlescope_scheduler, and `doctor` with the connection string of that role.

DO $roles$
DECLARE
  login constant text := 'battlescope_scheduler';
  -- MAINTAIN came with 17. Before it, ANALYZE and VACUUM are for who owns the table.
  has_maintain constant boolean := current_setting('server_version_num')::int >= 170000;
  wanted record;
  owner record;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = login) THEN
    -- No password yet: nobody can log in over a connection that asks for one.
    EXECUTE pg_catalog.format('CREATE ROLE %I LOGIN INHERIT CONNECTION LIMIT 20', login);
  END IF;
  EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), login);

  -- The scheduler's own tables. It makes and updates them itself, so they are its own. Where it ran as another role so far, they change hands, and
  -- that role may go on reading them.
  SELECT pg_catalog.pg_get_userbyid(nspowner) AS name INTO owner FROM pg_catalog.pg_namespace WHERE nspname = 'scheduler';
  IF NOT FOUND THEN
    EXECUTE pg_catalog.format('CREATE SCHEMA scheduler AUTHORIZATION %I', login);
  ELSIF owner.name <> login THEN
    EXECUTE pg_catalog.format('ALTER SCHEMA scheduler OWNER TO %I', login);
    -- Sequences and indexes follow their tables.
    FOR wanted IN
      SELECT c.oid::pg_catalog.regclass AS relation, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
      FROM pg_catalog.pg_class c WHERE c.relnamespace = 'scheduler'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p', 'v')
    LOOP
      EXECUTE pg_catalog.format('ALTER %s %s OWNER TO %I', wanted.kind, wanted.relation, login);
    END LOOP;
    FOR wanted IN
      SELECT p.oid::pg_catalog.regprocedure AS function FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'scheduler'::pg_catalog.regnamespace
    LOOP
      EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', wanted.function, login);
    END LOOP;
    EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA scheduler TO %I', owner.name);
    EXECUTE pg_catalog.format('GRANT SELECT ON ALL TABLES IN SCHEMA scheduler TO %I', owner.name);
  END IF;

  FOR wanted IN
    SELECT task, login || '_' || task AS role, relation, privilege, pg_catalog.to_regclass(relation) AS found
    FROM (VALUES
      ('analyze', 'public.killmail_events', 'MAINTAIN'),
      ('analyze', 'public.killmail_enrichments', 'MAINTAIN'),
      ('analyze', 'public.battles', 'MAINTAIN'),
      ('analyze', 'public.battle_killmails', 'MAINTAIN'),
      ('analyze', 'public.battle_participants', 'MAINTAIN'),
      ('analyze', 'public.pilot_ship_history', 'MAINTAIN'),

      -- UPDATE, because rows are locked before they are deleted (FOR UPDATE); nothing is changed.
      ('cache', 'public.esi_cache', 'SELECT, UPDATE, DELETE'),

      -- With trigger job-table also SELECT, INSERT on that table.
      ('cluster', 'public.killmail_events', 'SELECT'),

      ('health', 'public.killmail_events', 'SELECT'),
      ('health', 'public.killmail_enrichments', 'SELECT'),
      ('health', 'public.battles', 'SELECT'),
      ('health', 'public.battle_killmails', 'SELECT'),
      ('health', 'public.battle_participants', 'SELECT'),

      -- What a policy names is locked, and so needs UPDATE; what hangs on it goes along.
      ('retention', 'public.killmail_events', 'SELECT, UPDATE, DELETE'),
      ('retention', 'public.killmail_enrichments', 'SELECT, DELETE'),
      ('retention', 'public.pilot_ship_history', 'SELECT, DELETE'),
      ('retention', 'public.battles', 'SELECT, UPDATE, DELETE'),
      ('retention', 'public.battle_killmails', 'SELECT, DELETE'),
      ('retention', 'public.battle_participants', 'SELECT, DELETE'),

      ('statistics', 'public.killmail_events', 'SELECT'),
      ('statistics', 'public.pilot_ship_history', 'SELECT'),
      ('statistics', 'public.battles', 'SELECT'),
      ('statistics', 'public.battle_killmails', 'SELECT'),
      ('statistics', 'public.battle_participants', 'SELECT'),

      ('vacuum', 'public.killmail_events', 'MAINTAIN'),
      ('vacuum', 'public.killmail_enrichments', 'MAINTAIN'),
      ('vacuum', 'public.battles', 'MAINTAIN'),
      ('vacuum', 'public.battle_killmails', 'MAINTAIN'),
      ('vacuum', 'public.battle_participants', 'MAINTAIN'),
      ('vacuum', 'public.pilot_ship_history', 'MAINTAIN')
    ) AS grants (task, relation, privilege)
  LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.role) THEN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted.role);
      EXECUTE pg_catalog.format('GRANT %I TO %I', wanted.role, login);
    END IF;
    EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA public TO %I', wanted.role);

    -- Installations differ: a table that is not here is no reason to stop.
    CONTINUE WHEN wanted.found IS NULL;

    IF wanted.privilege <> 'MAINTAIN' OR has_maintain THEN
      EXECUTE pg_catalog.format('GRANT %s ON %s TO %I', wanted.privilege, wanted.found, wanted.role);
      CONTINUE;
    END IF;

    -- 15 and 16. Whoever is a member of the owner may do everything that the owner may: more than one would want, and all there is.
    -- An upgrade to 17 ends that: run this file again, then REVOKE the owner from battlescope_scheduler_analyze and battlescope_scheduler_vacuum.
    SELECT r.rolname AS name, r.rolname LIKE 'pg\_%' OR EXISTS (
        SELECT FROM pg_catalog.pg_roles s WHERE s.rolsuper AND pg_catalog.pg_has_role(r.oid, s.oid, 'MEMBER')) AS off_limits
      INTO STRICT owner
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE c.oid = wanted.found;
    IF owner.off_limits THEN
      RAISE EXCEPTION '% belongs to %: its member would be a superuser', wanted.found, owner.name
        USING HINT = pg_catalog.format('give it to a role that is no superuser: ALTER TABLE %s OWNER TO …', wanted.found);
    END IF;
    IF NOT pg_catalog.pg_has_role(wanted.role, owner.name, 'MEMBER') THEN
      EXECUTE pg_catalog.format('GRANT %I TO %I', owner.name, wanted.role);
    END IF;
  END LOOP;
END
$roles$;

-- Statements, locks and lag of others are for members of pg_monitor to see. Without it those checks are unknown, and say so.
GRANT pg_monitor TO battlescope_scheduler_health;

-- reindex needs to own the indexes' tables: REINDEX is for owners before 17, and dropping what a killed rebuild leaves is on every version. Whoever
-- is a member of the owner may do everything that the owner may, so this is not part of the above. The owner needs CREATE on
-- the schema, too: what a rebuild leaves is renamed before it is dropped. Where it is not too much:
-- CREATE ROLE battlescope_scheduler_reindex NOLOGIN;
-- GRANT battlescope TO battlescope_scheduler_reindex;
-- GRANT USAGE, CREATE ON SCHEMA public TO battlescope_scheduler_reindex;
-- GRANT battlescope_scheduler_reindex TO battlescope_scheduler;

-- Where there are replicas: their lag is for pg_monitor alone to see, and retention stands still while it cannot tell.
-- GRANT pg_monitor TO battlescope_scheduler_retention;

-- Since when a transaction of another role has been holding back VACUUM, and what autovacuum works on to prevent wraparound, is for pg_read_all_stats to see.
-- GRANT pg_read_all_stats TO battlescope_scheduler_vacuum;

-- With backup.driver pg-dump: to read every table of the database, of every schema. The other drivers need nothing.
-- GRANT pg_read_all_data TO battlescope_scheduler;
