/** An embedded PostgreSQL in a process of its own. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keeperEnvironment } from './environment.js'

export type ToKeeper = 'keep'

export type FromKeeper =
  | {
      readonly kind: 'ready'
      readonly url: string
      readonly pid?: number | undefined
      readonly dataDir?: string | undefined
      readonly folder: string
    }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'kept' }

export interface Server {
  /**
   * Superuser, database `postgres`; and a folder for what lies outside the database, which goes when the server does.
   * Rejects when the server does not start.
   */
  readonly ready: Promise<{ readonly url: string; readonly dataDir: string | undefined; readonly folder: string }>
  /** SIGTERM to this process ends the server and removes its files. */
  readonly keeperPid: number
  /** Leaves the server running when this process ends. */
  keep(): Promise<void>
  /** Ends the server and removes its files; resolves when both are gone. Does nothing to a kept one. */
  stop(): Promise<void>
}

/** The server gets ten seconds to end before it is killed; then its files are removed. */
const stopDeadlineMs = 20_000

const here = dirname(fileURLToPath(import.meta.url))

export function startServer(): Server {
  // The same loader as this process has, for it is TypeScript, too.
  const keeper = fork(join(here, 'server-keeper.ts'), [], {
    cwd: dirname(here),
    env: keeperEnvironment(),
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const ended = once(keeper, 'exit')
  ended.catch(() => undefined)
  const answers = <K extends FromKeeper['kind']>(kind: K): Promise<Extract<FromKeeper, { kind: K }>> =>
    new Promise((resolve, reject) => {
      keeper.on('message', (message: FromKeeper) => {
        if (message.kind === 'failed') reject(new Error(`PostgreSQL did not start: ${message.message}`))
        else if (message.kind === kind) resolve(message as Extract<FromKeeper, { kind: K }>)
      })
      keeper.once('error', reject)
      keeper.once('exit', () => reject(new Error('the process that owns PostgreSQL has ended')))
    })
  const ready = answers('ready').then(({ url, dataDir, folder }) => ({ url, dataDir, folder }))
  // Whoever stops the server early does not ask any more.
  ready.catch(() => undefined)
  let kept = false
  return {
    ready,
    keeperPid: keeper.pid ?? 0,
    async keep() {
      const answer = answers('kept')
      keeper.send('keep' satisfies ToKeeper)
      await answer
      kept = true
      keeper.disconnect()
      keeper.unref()
    },
    async stop() {
      if (kept || keeper.pid === undefined || keeper.exitCode !== null || keeper.signalCode !== null) return
      if (keeper.connected) keeper.disconnect()
      const timer = setTimeout(() => keeper.kill('SIGKILL'), stopDeadlineMs)
      await ended
      clearTimeout(timer)
    },
  }
}
