/** A process that is killed in the middle of a VACUUM: the server notices, nothing is lost, and the next run does it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createTestDatabase } from '@battlescope/scheduler-testing'
import { expect, it } from 'vitest'
import { createBloated, deadRows, run, until } from './world.js'

/** Runs the task, slowly, in a process of its own. */
function startChild(databaseUrl: string) {
  const world = JSON.stringify(new URL('./world.ts', import.meta.url).href)
  const code = `import { run, slow } from ${world}; await run({ url: ${JSON.stringify(databaseUrl)} }, slow)`
  return spawn(
    process.execPath,
    ['--conditions=@battlescope/source', '--import', 'tsx', '--input-type=module', '-e', code],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
}

it('leaves no VACUUM behind, and nothing that keeps the next run from it', { timeout: 120_000 }, async () => {
  const database = await createTestDatabase()
  try {
    await createBloated(database, 'a')
    const child = startChild(database.url)
    const ended = once(child, 'exit')
    const vacuums = `SELECT FROM pg_stat_progress_vacuum WHERE datname = current_database()`
    await until(database, `EXISTS (${vacuums} AND heap_blks_total > 0)`)
    child.kill('SIGKILL')
    expect(await ended).toEqual([null, 'SIGKILL'])
    // client_connection_check_interval, set on every direct connection: without it the server would go on to the end.
    await until(database, `NOT EXISTS (${vacuums})`)
    expect(await deadRows(database)).toEqual({ a: 5000 })
    await database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
    expect((await run(database)).outcome).toBe('succeeded')
    expect(await deadRows(database)).toEqual({ a: 0 })
    expect(await database.query(`SELECT kind, result FROM scheduler.action ORDER BY id`)).toEqual([
      { kind: 'vacuum', result: 'started' },
      { kind: 'vacuum', result: 'started' },
      { kind: 'vacuum', result: 'succeeded' },
    ])
  } finally {
    await database.drop()
  }
})
