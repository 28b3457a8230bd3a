/** What `backup verify` and `backup restore --dry-run` say of a store, called directly. The built program is tried in backup.test.ts. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseConnectionString } from '@battlescope/database'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { openPrograms } from '@battlescope/task-backup/dumps'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { restore } from '../src/commands/backup/restore.js'
import { verify } from '../src/commands/backup/verify.js'
import { Output } from '../src/output.js'
import { hostOf } from './host-of.js'

const missing = ['pg_dump', 'pg_restore'].every((program) => spawnSync(program, ['--version']).status === 0)
  ? ''
  : ' (skipped: pg_dump is not installed; apt-get install postgresql-client)'

const object = 'backups/data/backup-1.00000000.dump'

describe.skipIf(missing !== '')(`checks of dumps${missing}`, () => {
  let folder: string
  let lines: string[]
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'backup-checks-'))
    lines = []
    vi.spyOn(Output.prototype, 'line').mockImplementation((text = '') => void lines.push(text))
  })
  afterEach(() => {
    vi.restoreAllMocks()
    rmSync(folder, { recursive: true, force: true })
  })

  const host = () => hostOf({ PATH: process.env['PATH'], SCHEDULER_COLD_STORAGE_URL: pathToFileURL(folder).href })

  /** A dump and its manifest, as the task leaves them. */
  const dump = async (database: TestDatabase) => {
    const programs = openPrograms({ target: parseConnectionString(database.url), environment: process.env })
    const chunks: Uint8Array[] = []
    for await (const chunk of programs.dump({ compressionLevel: 1 })) chunks.push(chunk)
    const bytes = Buffer.concat(chunks)
    for (const name of ['data', 'manifests']) mkdirSync(join(folder, 'backups', name), { recursive: true })
    writeFileSync(join(folder, object), bytes)
    const at = '2026-11-23T03:00:00.000Z'
    const manifest = {
      manifestVersion: 1,
      name: 'backup-1',
      slotId: 'backup@1',
      object,
      sizeBytes: bytes.byteLength,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      entries: 1,
      startedAt: at,
      verifiedAt: at,
      database: { systemIdentifier: '1', host: '', database: 'battlescope' },
      databaseBytes: 1,
      writtenBy: 'pg_dump',
    }
    writeFileSync(join(folder, 'backups/manifests/backup-1.00000000.json'), JSON.stringify(manifest))
  }

  it('say 80 of a store without dumps, and never that all is well', async () => {
    expect(await verify(host(), { deep: false })).toBe(80)
    expect(lines).toEqual([expect.stringContaining('there are no dumps in file:')])
  })

  it('read the dump in a dry run of restore, too', async () => {
    const [source, target] = [await createTestDatabase(), await createTestDatabase()]
    try {
      await source.query('CREATE TABLE public.kept AS SELECT generate_series(1, 100) AS id')
      await dump(source)
      const options = {
        target: { url: target.url },
        dryRun: true,
        noOwner: false,
        intoNonEmpty: false,
        intoSource: false,
      }
      expect(await restore(host(), options)).toBe(0)
      expect(lines).toEqual([expect.stringContaining('would be restored into')])
      expect(await verify(host(), { deep: true })).toBe(0)
      const file = join(folder, object)
      const bytes = readFileSync(file)
      bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 1
      writeFileSync(file, bytes)
      await expect(restore(host(), options)).rejects.toMatchObject({
        message: expect.stringContaining('SHA-256') as string,
      })
      expect(await target.query(`SELECT FROM pg_class WHERE relname = 'kept'`)).toEqual([])
    } finally {
      await source.drop()
      await target.drop()
    }
  })
})
