import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Store } from '@battlescope/cold-storage'
import { createTestDatabase } from '@battlescope/scheduler-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkDump, listDumps, restoreDump, restoreProblems } from '../src/dumps.js'
import { manifestObjectName } from '../src/names.js'
import { noClientTools } from './client-tools.js'
import { clientsFor, contentOf, createWorld, programsOf, type World } from './world.js'

describe.skipIf(noClientTools !== '')(`the driver pg-dump${noClientTools}`, () => {
  let world: World
  beforeEach(async () => {
    world = await createWorld({ driver: 'pg-dump' })
  })
  afterEach(() => world.close())

  const only = async () => {
    const { dumps } = await listDumps(await world.store())
    if (dumps.length !== 1 || dumps[0]?.manifest === undefined) throw new Error(JSON.stringify(dumps))
    return dumps[0].manifest
  }

  it('dumps, reads back, promotes and records', async () => {
    expect(await world.run()).toMatchObject({
      outcome: 'succeeded',
      findings: [],
      changes: [{ key: 'completed', details: { driver: 'pg-dump' } }],
    })
    const manifest = await only()
    const bytes = readFileSync(join(world.folder, manifest.object))
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(manifest.sha256)
    expect(manifest.entries).toBeGreaterThan(5)
    expect(manifest.writtenBy).toMatch(/^pg_dump/)
    expect(await world.rows()).toMatchObject([
      {
        driver: 'pg-dump',
        state: 'succeeded',
        size_bytes: String(bytes.byteLength),
        checksum: `sha256:${manifest.sha256}`,
        object_name: manifest.object,
        location: world.url,
      },
    ])
    expect(await world.names()).toEqual([manifest.object, manifestObjectName(manifest.object)])
  })

  it('is restored into an empty database with the same content', async () => {
    await world.run()
    const target = await createTestDatabase()
    try {
      await restoreDump(await world.store(), programsOf(target.url), await only())
      expect(await contentOf(target)).toEqual(await contentOf(world.database))
      await target.query('UPDATE public.kept SET isk = isk + 0.1 WHERE id = 250')
      expect(await contentOf(target)).not.toEqual(await contentOf(world.database))
    } finally {
      await target.drop()
    }
  })

  it('restores all of it or nothing', async () => {
    await world.run()
    const target = await createTestDatabase()
    try {
      // The last of the restore: a constraint that the rows of this table break.
      await target.query('CREATE TABLE public.child (id int)')
      const refused = restoreDump(await world.store(), programsOf(target.url), await only())
      await expect(refused).rejects.toMatchObject({
        code: 'program-failed',
        message: expect.stringContaining('already exists') as string,
      })
      expect(await target.query(`SELECT relname FROM pg_class WHERE relname = 'kept'`)).toEqual([])
    } finally {
      await target.drop()
    }
  })

  it('restores nothing of a dump whose bytes have changed, and tells it', async () => {
    await world.run()
    const manifest = await only()
    const file = join(world.folder, manifest.object)
    const bytes = readFileSync(file)
    bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1
    writeFileSync(file, bytes)
    const target = await createTestDatabase()
    try {
      const refused = restoreDump(await world.store(), programsOf(target.url), manifest)
      await expect(refused).rejects.toMatchObject({ code: 'dump-unfit' })
      expect(await target.query(`SELECT relname FROM pg_class WHERE relname = 'kept'`)).toEqual([])
    } finally {
      await target.drop()
    }
  })

  it('unpacks every row in a deep check', async () => {
    await world.run()
    const [store, manifest] = [await world.store(), await only()]
    await checkDump(store, programsOf(world.database.url), manifest.object, manifest, { deep: true })
    const file = join(world.folder, manifest.object)
    const bytes = readFileSync(file)
    // In the middle of compressed rows: the list at the beginning says nothing of it.
    bytes.fill(0, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 64)
    writeFileSync(file, bytes)
    const deep = checkDump(store, programsOf(world.database.url), manifest.object, manifest, { deep: true })
    await expect(deep).rejects.toMatchObject({ code: 'program-failed' })
  })

  it('that is smaller than allowed is no backup, and leaves nothing', async () => {
    const run = await world.run({ config: { minSize: '1GiB', attempts: 1 } })
    expect(run.findings).toMatchObject([{ key: 'never-succeeded' }, { key: 'failed' }])
    expect(await world.rows()).toMatchObject([
      { state: 'failed', message: expect.stringContaining('minSize') as string },
    ])
    expect(await world.names()).toEqual([])
  })

  it('that pg_dump could not finish is no backup, leaves nothing, and is tried again in the next run', async () => {
    const role = await world.database.createRole()
    const run = await world.run({
      clients: clientsFor({ databaseUrl: role.url, storeUrl: world.url }),
    })
    expect(run).toMatchObject({ outcome: 'partial', remaining: 1 })
    const [row] = await world.rows()
    expect(row).toMatchObject({
      state: 'failed',
      message: expect.stringMatching(/pg_dump ended with 1.*permission denied/) as string,
    })
    expect(JSON.stringify(row)).not.toContain(role.password)
    expect(await world.names()).toEqual([])
  })

  /** The store has the manifest; what comes after it fails. */
  const failsBehindManifest =
    (fail: () => Promise<unknown>) =>
    (store: Store): Store =>
      new Proxy(store, {
        get: (target, key) => {
          const member: unknown = Reflect.get(target, key, target)
          if (key !== 'put' || typeof member !== 'function') {
            return typeof member === 'function' ? (member.bind(target) as unknown) : member
          }
          return async (...args: unknown[]) => {
            const stored = (await Reflect.apply(member, target, args)) as unknown
            if (String(args[0]).startsWith('backups/manifests/')) await fail()
            return stored
          }
        },
      })

  it.each([
    [
      'the answer to its manifest was lost',
      // Tried again within the run: the second attempt looks into the store.
      'succeeded',
      () => Promise.reject(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })),
    ],
    [
      'its row could not be written',
      'failed',
      () => world.database.query(`ALTER TABLE scheduler.backup ADD CONSTRAINT no_success CHECK (state <> 'succeeded')`),
    ],
  ])('that was verified is kept when %s, and counts afterwards', async (_what, outcome, fail) => {
    expect(await world.run({ wrap: failsBehindManifest(fail) })).toMatchObject({ outcome })
    const manifest = await only()
    await world.database.query('ALTER TABLE scheduler.backup DROP CONSTRAINT IF EXISTS no_success')
    await world.run({ config: { minAge: '6h' } })
    expect(await world.rows()).toMatchObject([{ state: 'succeeded', object_name: manifest.object }])
    expect(await only()).toEqual(manifest)
  })

  it('is not begun without the program: a configuration error, with a hint', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'no-programs-'))
    try {
      const run = await world.run({ environment: { PATH: empty } })
      expect(run).toMatchObject({
        outcome: 'failed',
        errorCode: 'configuration',
        reason: expect.stringContaining('pg_dump') as string,
      })
      expect(await world.rows()).toEqual([])
    } finally {
      rmSync(empty, { recursive: true })
    }
  })

  it('is not begun when it would not fit into the budget', async () => {
    const run = await world.run({ config: { assumedRate: '1kB' } })
    expect(run).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(run.findings.map(({ key }) => key)).toEqual(['never-succeeded'])
    expect(await world.rows()).toEqual([])
  })

  it('shows no password in the list of processes', async () => {
    const role = await world.database.createRole({ attributes: 'SUPERUSER' })
    const seen: string[] = []
    const folder = mkdtempSync(join(tmpdir(), 'wrapped-'))
    try {
      // A pg_dump that tells how it was started before it becomes the real one.
      const log = join(folder, 'seen')
      writeFileSync(
        join(folder, 'pg_dump'),
        `#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline >> ${log}; env | cut -d= -f1 >> ${log}\nPATH=$(echo $PATH | cut -d: -f2-) exec pg_dump "$@"\n`,
        { mode: 0o755 },
      )
      const environment = {
        PATH: `${folder}:${process.env['PATH'] ?? ''}`,
        DATABASE_URL: role.url,
        AWS_SECRET_ACCESS_KEY: 'secret',
      }

      const run = await world.run({ clients: clientsFor({ databaseUrl: role.url, storeUrl: world.url, environment }) })
      expect(run.outcome).toBe('succeeded')
      seen.push(...readFileSync(log, 'utf8').split('\n'))
    } finally {
      rmSync(folder, { recursive: true })
    }
    expect(seen).toContain('PGPASSWORD')
    expect(seen.join(' ')).not.toContain(role.password)
    expect(seen).not.toContain('DATABASE_URL')
    expect(seen).not.toContain('AWS_SECRET_ACCESS_KEY')
  })

  it('notices that the newest one was removed by somebody else, and takes another however young it was', async () => {
    await world.run()
    rmSync(join(world.folder, (await only()).object))
    await world.run({ config: { minAge: '6h' } })
    expect((await world.rows()).map(({ state }) => state)).toEqual(['vanished', 'succeeded'])
  })

  it.each([
    ['leaves alone what the database that it is a copy of is writing', 'the original', true],
    ['discards what it was writing itself', undefined, false],
  ])('%s', async (_, original, stays) => {
    await world.run()
    const object = 'backups/data/backup-begun.00000000.dump'
    await (await world.store()).put(object, Buffer.from('half of a dump'))
    await world.database.query(
      `INSERT INTO scheduler.backup (name, slot_id, attempt, driver, state, started_at, object_name, location, database)
       SELECT 'backup-begun', slot_id, 2, driver, 'running', now(), '${object}', location,
         database || jsonb_build_object('database', $1::text) FROM scheduler.backup`,
      [original ?? world.database.name],
    )
    await world.run()
    expect((await world.names()).includes(object)).toBe(stays)
    const begun = (await world.rows()).find(({ name }) => name === 'backup-begun')
    expect(begun?.state).toBe('failed')
    if (stays) expect(begun?.message).toContain('begun by another database (the original)')
  })

  it('counts the dump that it was restored from: its row is in it, as it was while it was written', async () => {
    await world.run()
    await world.database.query(
      `UPDATE scheduler.backup SET state = 'running', finished_at = NULL, database = database || '{"database": "the original"}'`,
    )
    await world.run()
    expect((await world.rows()).map(({ state }) => state)).toEqual(['succeeded', 'succeeded'])
    expect(await world.names()).toHaveLength(4)
  })

  describe('pruning', () => {
    const keep = { keepLast: 1, keepDaily: 1, keepMonthly: 1 }

    it('removes old dumps once there is a newer good one, the manifest first', async () => {
      await world.run({ config: keep })
      const old = await only()
      const run = await world.run({ config: keep })
      expect(run.actions.map(({ kind }) => kind)).toEqual([
        'announce-backup',
        'write-dump',
        'promote-dump',
        'record-backup',
        'record-backup',
        'prune-dump',
        'record-backup',
      ])
      expect((await world.rows()).map(({ state }) => state)).toEqual(['pruned', 'succeeded'])
      expect((await only()).object).not.toBe(old.object)
      expect(await world.names()).toHaveLength(2)
    })

    it('removes nothing when the newer one failed', async () => {
      await world.run({ config: keep })
      await world.run({ config: { ...keep, minSize: '1GiB' } })
      expect((await world.rows()).map(({ state }) => state)).toEqual(['succeeded', 'failed'])
      expect(await world.names()).toHaveLength(2)
    })

    it('counts no dump as kept that somebody else has removed', async () => {
      const three = { ...keep, keepLast: 3 }
      for (let taken = 0; taken < 3; taken += 1) await world.run({ config: three })
      const [first, second] = await world.rows()
      rmSync(join(world.folder, second?.object_name ?? ''))
      const run = await world.run({ config: three })
      expect(run.findings).toMatchObject([
        { key: 'not-pruned', summary: expect.stringContaining(second?.name ?? '') as string },
      ])
      expect((await world.rows()).map(({ state }) => state)).toEqual([
        'succeeded',
        'vanished',
        'succeeded',
        'succeeded',
      ])
      expect(await world.names()).toContain(first?.object_name)
      // The next one is the third that is there: now the first may go.
      await world.run({ config: three })
      expect((await world.rows()).map(({ state }) => state)).toEqual([
        'pruned',
        'vanished',
        'succeeded',
        'succeeded',
        'succeeded',
      ])
    })

    it('removes nothing while a database that is a copy of this one uses the same prefix', async () => {
      await world.run({ config: keep })
      const store = await world.store()
      const foreign = 'backups/manifests/backup-foreign.00000000.json'
      await store.put(foreign, Buffer.from('{}'))
      const run = await world.run({ config: keep })
      expect(run.findings).toMatchObject([{ key: 'not-pruned', summary: expect.stringContaining(foreign) as string }])
      expect((await world.rows()).map(({ state }) => state)).toEqual(['succeeded', 'succeeded'])
    })

    it('removes nothing of the database that this one is a copy of', async () => {
      await world.run({ config: keep })
      const [row] = await world.rows()
      const file = join(world.folder, manifestObjectName(row?.object_name ?? ''))
      writeFileSync(file, readFileSync(file, 'utf8').replace(/"systemIdentifier": "\d+"/, '"systemIdentifier": "1"'))
      const run = await world.run({ config: keep })
      expect(run.findings).toMatchObject([
        { key: 'not-pruned', summary: expect.stringContaining('another database') as string },
      ])
      expect((await world.rows()).map(({ state }) => state)).toEqual(['succeeded', 'succeeded'])
    })
  })
})

describe('restoreProblems', () => {
  const database = { systemIdentifier: '1', host: '', database: 'battlescope' }
  const target = { identity: { ...database, database: 'empty' }, relations: 0 }
  const never = { intoNonEmpty: false, intoSource: false }
  const problems = (change: object, flags = {}) =>
    restoreProblems({ database }, { ...target, ...change }, { ...never, ...flags })

  it('lets an empty database pass', () => {
    expect(problems({})).toEqual([])
  })

  it('refuses a target with relations, and the source itself, each unless told', () => {
    expect(problems({ relations: 3 })).toHaveLength(1)
    expect(problems({ relations: 3 }, { intoNonEmpty: true })).toEqual([])
    expect(problems({ identity: database })).toHaveLength(1)
    expect(problems({ identity: database, relations: 3 })).toHaveLength(2)
    expect(problems({ identity: database, relations: 3 }, { intoSource: true, intoNonEmpty: true })).toEqual([])
    // The same name on another server is another database.
    expect(problems({ identity: { ...database, systemIdentifier: '2' } })).toEqual([])
  })
})
