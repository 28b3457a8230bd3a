/** The demo as a process of its own, with a temporary folder of its own, in which nothing may be left. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const packageFolder = fileURLToPath(new URL('..', import.meta.url))

export interface SpawnedDemo {
  readonly pid: number
  kill(signal: NodeJS.Signals): void
  /** Resolves as soon as what was printed so far matches. Rejects when the demo ends without. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<{
    readonly code: number | null
    readonly signal: NodeJS.Signals | null
    readonly output: string
  }>
  /** Earlier than `ended` when a program it started still holds its output. */
  readonly exited: Promise<unknown>
  /** Processes that this demo started, at any depth, and that are still there; and what is in its temporary folder. */
  leftovers(): Promise<readonly string[]>
  dispose(): Promise<void>
}

export async function spawnDemo(
  entry: 'src/main.ts' | 'test/fixtures/show.ts',
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<SpawnedDemo> {
  const temporary = await mkdtemp(join(tmpdir(), 'demo-test-'))
  // The server runs as another user where we are root.
  await chmod(temporary, 0o1777)
  const child = spawn(process.execPath, ['--conditions=@battlescope/source', '--import', 'tsx', entry, ...argv], {
    cwd: packageFolder,
    env: { ...process.env, ...environment, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const watchers = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      for (const watch of watchers) watch()
    })
  }
  const exited = once(child, 'exit')
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    output,
  }))
  const leftovers = async (): Promise<readonly string[]> => [
    // tsx caches what it compiled.
    ...(await readdir(temporary)).filter((name) => !/^(tsx-|node-compile-cache)/.test(name)),
    ...(await listProcesses(temporary)).filter(({ pid }) => pid !== child.pid).map(({ command }) => command),
  ]
  return {
    pid: child.pid ?? 0,
    kill: (signal) => child.kill(signal),
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const watch = (): void => {
          const match = pattern.exec(output)
          if (!match) return
          watchers.delete(watch)
          resolve(match)
        }
        watchers.add(watch)
        watch()
        void ended.then(() => reject(new Error(`the demo ended without printing ${String(pattern)}:\n${output}`)))
      }),
    ended,
    exited,
    leftovers,
    async dispose() {
      for (const { pid } of await listProcesses(temporary)) process.kill(pid, 'SIGKILL')
      await rm(temporary, { recursive: true, force: true })
    },
  }
}

/** Linux knows each process's environment, and every process of a demo inherits its TMPDIR. Elsewhere the folder alone is looked at. */
async function listProcesses(
  temporary: string,
): Promise<readonly { readonly pid: number; readonly command: string }[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      if (!environment.split('\0').includes(`TMPDIR=${temporary}`)) return []
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      return [{ pid: Number(pid), command: command.replaceAll('\0', ' ') }]
    }),
  )
  return found.flat()
}
