/** The scheduler as cron runs it: the built program, in a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { schedulerEnvironment } from './environment.js'

export interface SchedulerProgram {
  readonly entry: string
  /** The command line's beginning, as a user in `folder` would type it. */
  readonly shown: string
  readonly folder: string
}

/** After SIGTERM the program ends within its grace period; here nothing of its work is needed any more. */
const killDelayMs = 5_000

export async function findSchedulerProgram(): Promise<SchedulerProgram> {
  const manifestPath = createRequire(import.meta.url).resolve('@battlescope/scheduler/package.json')
  const { bin } = JSON.parse(await readFile(manifestPath, 'utf8')) as { bin: string | Record<string, string> }
  const path = typeof bin === 'string' ? bin : bin['battlescope-scheduler']
  if (path === undefined) throw new Error('@battlescope/scheduler names no program battlescope-scheduler under "bin"')
  const entry = resolve(dirname(manifestPath), path)
  await access(entry).catch((cause: unknown) => {
    throw new Error(
      `the scheduler is not built: ${entry} is missing\nHINT: pnpm --filter @battlescope/scheduler build`,
      {
        cause,
      },
    )
  })
  const folder = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')
  return { entry, folder, shown: `node ${relative(folder, entry)}` }
}

/** Runs one command to its end, with this process's own output, and returns the exit code. Aborting stops it. */
export async function runScheduler(
  { entry, folder }: SchedulerProgram,
  args: readonly string[],
  options: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<number> {
  signal.throwIfAborted()
  const child = spawn(process.execPath, [entry, ...args], {
    cwd: folder,
    env: schedulerEnvironment(options),
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  let timer: NodeJS.Timeout | undefined
  const stop = (): void => {
    child.kill('SIGTERM')
    timer = setTimeout(() => child.kill('SIGKILL'), killDelayMs)
  }
  signal.addEventListener('abort', stop, { once: true })
  try {
    const [code, killedBy] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    signal.throwIfAborted()
    if (code === null) throw new Error(`the scheduler was ended by ${killedBy ?? 'a signal'}`)
    return code
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}
