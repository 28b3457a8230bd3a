/**
 * The process that owns the embedded PostgreSQL, and the folder for what lies outside of it. It has a session of its own, so that Ctrl-C in the terminal does not reach it, and it
 * ends with the demo, however that ends (SIGKILL included), unless it was told to keep the server; then SIGTERM ends it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '@battlescope/postgres-testing'
import type { FromKeeper, ToKeeper } from './server.js'

const send = (message: FromKeeper): void => {
  if (process.connected) process.send?.(message)
}

const folder = mkdtempSync(join(tmpdir(), 'battlescope-demo-'))

let kept = false
// The messages' channel alone would not keep this process alive once the demo is gone.
setInterval(() => undefined, 2 ** 30)

// Autovacuum as on any server: the demo switches it off where it would get in the way.
const starting = startPostgres({ settings: { autovacuum: 'on' } })

const stop = async (): Promise<void> => {
  const server = await starting.catch(() => undefined)
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
  process.exit(0)
}

process.on('message', (message: ToKeeper) => {
  if (message !== 'keep') return
  kept = true
  send({ kind: 'kept' })
})
process.on('disconnect', () => {
  if (!kept) void stop()
})
// The demo may have gone while this file was loaded, before anybody listened.
if (!process.connected) void stop()
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void stop())

starting.then(
  ({ url, pid, dataDir }) => send({ kind: 'ready', url, pid, dataDir, folder }),
  (error: unknown) => {
    send({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    rmSync(folder, { recursive: true, force: true })
    process.exitCode = 1
    setImmediate(() => process.exit())
  },
)
