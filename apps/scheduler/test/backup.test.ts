/** The commands over dumps, by the built program, over a folder. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { battlescope } from './support.js'

const missing = ['pg_dump', 'pg_restore'].every((program) => spawnSync(program, ['--version']).status === 0)
  ? ''
  : ' (skipped: pg_dump is not installed; apt-get install postgresql-client)'

interface Listed {
  readonly location: string
  readonly dumps: readonly {
    readonly manifest: { readonly name: string; readonly object: string }
    readonly problem?: string
  }[]
}

describe.skipIf(missing !== '')(`backup list, verify and restore${missing}`, () => {
  let database: TestDatabase
  let folder: string

  beforeAll(async () => {
    database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
    await database.query(`INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, isk_value)
      SELECT k, 30000142, now() - k * interval '1.000001 s', 'ü' || k, k / 7.0 FROM generate_series(1, 300) AS k`)
    folder = mkdtempSync(join(tmpdir(), 'backup-command-'))
    const ran = await battlescope(['run', '--task', 'backup', '--force'], {
      ...environment(),
      DATABASE_URL: database.url,
      SCHEDULER_TASKS: 'backup',
      SCHEDULER_BACKUP_DRIVER: 'pg-dump',
    })
    expect(ran.exitCode, ran.stdout + ran.stderr).toBe(0)
  })
  afterAll(async () => {
    await database?.drop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Without a database: it may be what is lost. */
  const environment = () => ({ SCHEDULER_COLD_STORAGE_URL: pathToFileURL(folder).href })
  const command = (...argv: string[]) => battlescope(['backup', ...argv], environment())
  const listed = async () => JSON.parse((await command('list', '--json')).stdout) as Listed
  const rows = (of: Pick<TestDatabase, 'query'>) =>
    of.query('SELECT k::text FROM public.killmail_events k ORDER BY killmail_id')

  it('lists what the store has, without a database', async () => {
    const { dumps, location } = await listed()
    expect(location).toBe(pathToFileURL(folder).href)
    expect(dumps).toMatchObject([
      { manifest: { object: expect.stringMatching(/^backups\/data\/backup-.*\.dump$/) as string } },
    ])
    const { exitCode, stdout } = await command('list')
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining(dumps[0]?.manifest.name ?? '')])
  })

  it('lists every attempt from the database', async () => {
    const { stdout } = await battlescope(['backup', 'list', '--history', '--json'], {
      ...environment(),
      DATABASE_URL: database.url,
    })
    expect(JSON.parse(stdout)).toMatchObject({ backups: [{ driver: 'pg-dump', state: 'succeeded' }] })
  })

  it('verifies, and says 80 when a byte has changed', async () => {
    expect((await command('verify')).exitCode).toBe(0)
    expect((await command('verify', '--deep')).exitCode).toBe(0)
    const file = join(folder, (await listed()).dumps[0]?.manifest.object ?? '')
    const good = readFileSync(file)
    const bad = Buffer.from(good)
    bad[bad.length - 9] = (bad[bad.length - 9] ?? 0) ^ 1
    writeFileSync(file, bad)
    const { exitCode, stdout } = await command('verify')
    writeFileSync(file, good)
    expect([exitCode, stdout]).toEqual([80, expect.stringContaining('SHA-256')])
  })

  it('restores the newest good one with the same content, and no password is shown', async () => {
    const target = await createTestDatabase()
    try {
      const file = join(folder, 'target-url')
      writeFileSync(file, `${target.url}\n`)
      const planned = await command('restore', '--to-file', file, '--dry-run')
      expect(planned.exitCode, planned.stderr).toBe(0)
      expect(await target.query(`SELECT FROM pg_class WHERE relname = 'killmail_events'`)).toEqual([])
      const { exitCode, stdout, stderr } = await command('restore', '--to-file', file)
      expect(exitCode, stderr).toBe(0)
      expect(await rows(target)).toEqual(await rows(database))
      const { password } = new URL(target.url)
      if (password !== '') expect(stdout + stderr).not.toContain(password)
      // Now there is something in it.
      const again = await command('restore', '--to-file', file)
      expect([again.exitCode, again.stderr]).toEqual([64, expect.stringContaining('--into-non-empty')])
    } finally {
      await target.drop()
    }
  })

  it('refuses the database that the dump is of', async () => {
    const { exitCode, stderr } = await command('restore', '--to', database.url, '--into-non-empty')
    expect([exitCode, stderr]).toEqual([64, expect.stringContaining('--into-source')])
  })

  it.each([
    [['restore'], 'needs a target'],
    [['restore', 'no-such', '--to', 'postgresql://u@localhost/d'], "no backup 'no-such'"],
    [['restore', '--to', 'localhost'], 'postgresql://'],
    [['restore', '--to-file', '/nonexistent'], 'cannot be read'],
    [['prune'], 'prune'],
  ])('says what is wrong with %j', async (argv, message) => {
    const { exitCode, stderr } = await command(...argv)
    expect([exitCode, stderr]).toEqual([64, expect.stringContaining(message)])
  })
})
