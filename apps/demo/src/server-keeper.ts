/**
 * The process that owns the embedded PostgreSQL. It has a session of its own, so that Ctrl-C in the terminal does not reach it, and it
 * ends with the demo, however that ends (SIGKILL included), unless it was told to keep the server; then SIGTERM ends it.
 */
import { startPostgres } from '@battlescope/postgres-testing'
import type { FromKeeper, ToKeeper } from './server.js'

const send = (message: FromKeeper): void => {
  if (process.connected) process.send?.(message)
}

let kept = false
// The messages' channel alone would not keep this process alive once the demo is gone.
setInterval(() => undefined, 2 ** 30)

// Autovacuum as on any server: the demo switches it off where it would get in the way.
const starting = startPostgres({ settings: { autovacuum: 'on' } })

const stop = async (): Promise<void> => {
  const server = await starting.catch(() => undefined)
  await server?.stop()
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
  ({ url, pid, dataDir }) => send({ kind: 'ready', url, pid, dataDir }),
  (error: unknown) => {
    send({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
    process.exitCode = 1
    setImmediate(() => process.exit())
  },
)
