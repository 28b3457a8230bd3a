import { createTestDatabase, sharedServer } from '@battlescope/postgres-testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SqlTokenError, splitStatements, tokenizeSql } from '../src/sql-tokens.js'
import { assertCopy, assertInTransaction, assertRead, hasEffects } from '../src/statement-guard.js'

const accepted = [
  'select 1',
  'SELECT 1;',
  '  \n/* a /* nested */ comment */ -- and a line\n (( select 1 ) union (select 2))',
  'with a as (select 1) select * from a',
  'values (1), (2)',
  'table public.battles',
  'show server_version',
  'explain select 1',
  'explain (analyze, buffers) select 1',
  'explain analyze verbose (select 1)',
  'explain (select 1)',
  'explain delete from public.battles',
  'explain (format json, analyze false) select 1',
  `select 'delete from x; drop table y'`,
  `select $$; delete from x$$, $tag$ $$ ; $tag$`,
  `select e'\\'; delete from x --'`,
  `select "a;b" from "delete"`,
  'select 1 -- ; delete from x',
  `select 'pg_terminate_backend(1)'`,
  'select pg_terminate_backend from (select 1 as pg_terminate_backend) t',
  'select $1::int, a$b from t',
  'select pg_try_advisory, count (*) from t',
]

const refused: readonly (readonly [string, RegExp])[] = [
  ['', /empty/],
  [' -- nothing', /empty/],
  [';', /empty/],
  ['delete from public.battles', /DELETE/],
  ['/* select */ update t set a = 1', /UPDATE/],
  ['analyze', /ANALYZE/],
  ['copy t to stdout', /COPY/],
  ['notify a', /NOTIFY/],
  ['do $$ begin end $$', /DO/],
  ['call p()', /CALL/],
  ['begin', /BEGIN/],
  ['set work_mem = 1', /SET/],
  ['"select" 1', /select/],
  ['select 1; select 2', /several/],
  ['select 1; ; delete from t', /several/],
  [`select ''';'; delete from t --'`, /several/],
  ['explain analyze delete from t', /EXPLAIN of DELETE/],
  ['explain (costs, analyze) insert into t values (1)', /EXPLAIN of INSERT/],
  ['explain analyze (delete from t)', /EXPLAIN of DELETE/],
  ['explain analyze create table t as select 1', /EXPLAIN of CREATE/],
  ['explain execute p', /EXPLAIN of EXECUTE/],
  ['select pg_cancel_backend(1)', /pg_cancel_backend/],
  ['select PG_TERMINATE_BACKEND /* x */ (1)', /pg_terminate_backend/],
  ['select "pg_terminate_backend"(1)', /pg_terminate_backend/],
  ['select pg_catalog.pg_advisory_lock(1)', /pg_advisory_lock/],
  ['select * from dblink_exec($1, $2)', /dblink_exec/],
  [`select query_to_xml('select pg_reload_conf()', true, true, '')`, /query_to_xml/],
  [`select set_config('a.b', 'c', false)`, /set_config/],
  [`select nextval('s')`, /nextval/],
  [`select U&"pg\\005fcancel_backend"(1)`, /U&/],
  ["select 'open", /no counterpart/],
  ['select "open', /no counterpart/],
  ['select $a$ open', /does not end/],
  ['select 1 /* open /* */', /does not end/],
  ['select 1 \0', /NUL/],
]

describe('assertRead', () => {
  it.each(accepted)('accepts %j', (statement) => {
    expect(() => assertRead(statement)).not.toThrow()
  })

  it.each(refused)('refuses %j', (statement, reason) => {
    expect(() => assertRead(statement)).toThrow(
      expect.objectContaining({ code: 'not-a-read', message: expect.stringMatching(reason) }),
    )
  })

  it('never takes text inside strings, names and comments for code', () => {
    const wraps: readonly ((text: string) => string)[] = [
      (text) => `'${text.replaceAll("'", "''")}'`,
      (text) => `e'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`,
      (text) => `"${text.replaceAll('"', '""')}x"`,
      (text) => `$fence$${text.replaceAll('$fence$', '')}$fence$`,
      (text) => `1 /* ${text.replaceAll('*/', '').replaceAll('/*', '')} */`,
      (text) => `1 -- ${text.replace(/[\n\r]/g, '')}\n`,
    ]
    const nasty = fc.array(
      fc.constantFrom(
        ';',
        "'",
        '"',
        '$',
        '\\',
        '*/',
        '/*',
        '--',
        'delete from t',
        'pg_notify(',
        '(',
        ')',
        ' ',
        '\n',
        'é',
      ),
    )
    fc.assert(
      fc.property(nasty, fc.constantFrom(...wraps), (parts, wrap) => {
        const inner = wrap(parts.join(''))
        // A block comment may end up with half a border at its end, which is none of ours to judge.
        fc.pre(!/\/\* .*[/*] ?\*\/$/s.test(inner))
        expect(splitStatements(tokenizeSql(`select ${inner}, 2`))).toHaveLength(1)
        assertRead(`select ${inner}, 2`)
        expect(() => assertRead(`select ${inner}; delete from t`)).toThrow(/several/)
      }),
    )
  })

  it('reads or refuses any text, without another error and in reasonable time', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        try {
          tokenizeSql(text)
        } catch (error) {
          expect(error).toBeInstanceOf(SqlTokenError)
        }
      }),
    )
    // Nothing in the lexer may look back over what it has read.
    expect(tokenizeSql(`${'('.repeat(200_000)}`)).toHaveLength(200_000)
  })
})

/** Volatile functions of pg_catalog without an effect on anybody else. */
const harmless = new Set(
  `amvalidate array_sample array_shuffle bernoulli brinhandler bthandler clock_timestamp current_query currtid2 currval dsnowball_init
   dsnowball_lexize gen_random_uuid ginhandler gisthandler hashhandler heap_tableam_handler lastval pg_available_wal_summaries
   pg_blocking_pids pg_collation_actual_version pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
   pg_current_logfile pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_collation_actual_version
   pg_database_size pg_export_snapshot pg_get_backend_memory_contexts pg_get_multixact_members pg_get_shmem_allocations
   pg_get_wait_events pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_hba_file_rules
   pg_ident_file_mappings pg_indexes_size pg_is_in_recovery pg_is_wal_replay_paused pg_isolation_test_session_is_blocked
   pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
   pg_lock_status pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir
   pg_ls_tmpdir pg_ls_waldir pg_notification_queue_usage pg_partition_ancestors pg_partition_tree pg_prepared_xact
   pg_read_binary_file pg_read_file pg_read_file_old pg_relation_size pg_replication_origin_progress
   pg_replication_origin_session_is_setup pg_replication_origin_session_progress pg_safe_snapshot_blocking_pids
   pg_sequence_last_value pg_show_all_file_settings pg_show_replication_origin_status pg_sleep pg_sleep_for pg_sleep_until
   pg_stat_file pg_stat_get_io pg_stat_get_recovery_prefetch pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit
   pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time
   pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_hot_updated
   pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated pg_stat_get_xact_tuples_returned
   pg_stat_get_xact_tuples_updated pg_stat_have_stats pg_table_size pg_tablespace_size pg_total_relation_size
   pg_wal_summary_contents pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status plpgsql_call_handler
   plpgsql_inline_handler plpgsql_validator query_to_xmlschema random random_normal spghandler system timeofday txid_status`.split(
    /\s+/,
  ),
)

it('what was fit once is fit again, for a transaction no reader, and what was refused is refused again', () => {
  for (let time = 0; time < 2; time += 1) {
    assertInTransaction('DELETE FROM remembered')
    expect(() => assertRead('DELETE FROM remembered')).toThrow('it begins with DELETE')
    assertRead('SELECT pg_sleep(1)')
    expect(() => assertRead('SELECT pg_sleep(1); SELECT 1')).toThrow('several statements in one')
  }
})

describe.each([15, 17] as const)('functions with effects, on PostgreSQL %i', (major) => {
  it('are all refused: every volatile function of pg_catalog is known to this list or to the guard', async () => {
    const database = await createTestDatabase({ server: await sharedServer(major) })
    const rows = await database.query<{ name: string }>(
      `select distinct proname as name from pg_proc where pronamespace = 'pg_catalog'::regnamespace and provolatile = 'v'
       and prokind = 'f' and prorettype <> 'trigger'::regtype`,
    )
    await database.drop()
    const undecided = rows.filter(({ name }) => !hasEffects(name) && !harmless.has(name))
    expect(undecided).toEqual([])
    expect(rows.length).toBeGreaterThan(200)
  })
})

describe('assertInTransaction', () => {
  it.each([
    'update t set a = 1',
    'analyze t',
    'set local work_mem = 1',
    'set transaction read only',
    'savepoint a',
    'rollback to a',
    'release a',
    'insert into t values (1); delete from t',
    `select set_config('a.b', 'c', true)`,
    `select pg_catalog.set_config('a.b', coalesce('c', 'd'), TRUE), 1`,
    'create table temp (i int)',
    'insert into temporary values (1)',
    'declare c cursor for select 1',
    'declare c cursor without hold for select 1',
    'select name from pg_settings',
  ])('accepts %j', (statement) => expect(() => assertInTransaction(statement)).not.toThrow())

  it.each([
    'commit',
    'END',
    'abort',
    'rollback',
    'rollback and chain',
    'begin',
    'start transaction',
    `prepare transaction 'x'`,
    'update t set a = 1; /* now */ commit',
    'set a = 1',
    'set session a = 1',
    'reset all',
    'listen x',
    'unlisten *',
    'discard all',
    'deallocate all',
    'prepare p as select 1',
    `load 'x'`,
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_lock_shared(1)',
    'create temp table t (i int)',
    'CREATE LOCAL TEMPORARY TABLE t (i int) ON COMMIT DROP',
    'create or replace temp view v as select 1',
    'create temporary sequence s',
    'create table pg_temp.t (i int)',
    'create table "pg_temp".t (i int)',
    'select 1 as i into temp t',
    `select set_config('a.b', 'c', false)`,
    `select set_config('a.b', 'true', is_local) from t`,
    `select set_config('a.b', 'c', 'true')`,
    `select set_config('a.b', 'c', not true)`,
    `select set_config('a.b', 'c', true), "set_config"('a.b', 'c', false)`,
    `update pg_settings set setting = 'c' where name = 'a.b'`,
    'declare c cursor with hold for select 1',
    'declare c scroll cursor with hold for select 1',
  ])('refuses %j', (statement) => {
    expect(() => assertInTransaction(statement)).toThrow(expect.objectContaining({ code: 'not-in-transaction' }))
  })
})

describe('assertCopy', () => {
  it('knows COPY to the client from COPY to anywhere else', () => {
    for (const statement of [
      'copy t to stdout',
      'COPY (select 1) TO STDOUT WITH (FORMAT binary)',
      `copy public."to" (a, b) to stdout;`,
    ]) {
      expect(() => assertCopy(statement, 'out')).not.toThrow()
      expect(() => assertCopy(statement, 'in')).toThrow(expect.objectContaining({ code: 'not-a-copy' }))
    }
    for (const statement of [
      'select 1',
      `copy t to program 'cat'`,
      `copy t to '/tmp/x'`,
      `copy t to 'stdout'`,
      'copy t from stdin',
      'copy t to stdout; select 1',
      'copy (select pg_reload_conf()) to stdout',
      '',
    ]) {
      expect(() => assertCopy(statement, 'out')).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^not-a-(copy|read)$/) as string }),
      )
    }
    expect(() => assertCopy('copy t (a) from stdin (format csv)', 'in')).not.toThrow()
    expect(() => assertCopy(`copy t from program 'x'`, 'in')).toThrow(/FROM STDIN/)
  })
})
