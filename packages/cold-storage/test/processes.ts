import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Order } from './store-process.js'

const require = createRequire(import.meta.url)
const typescript = pathToFileURL(require.resolve('tsx')).href

export interface StoreProcess {
  readonly pid: number
  readonly ready: Promise<void>
  /** @throws Error when the process failed */
  readonly result: Promise<unknown>
  go(): void
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
}

export function startProcess(work: string, order: Order): StoreProcess {
  const script = fileURLToPath(new URL('store-process.ts', import.meta.url))
  const args = ['--no-warnings', '--import', typescript, script, work, JSON.stringify(order)]
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // A process that is killed does not read.
  child.stdin.on('error', () => undefined)
  const lines: string[] = []
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const output = createInterface({ input: child.stdout })
  const ready = new Promise<void>((resolve, reject) => {
    output.on('line', (line) => {
      if (line === 'ready') resolve()
      else lines.push(line)
    })
    child.once('close', () => reject(new Error(`${work} ended before it was ready: ${errors}`)))
  })
  const result = once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`${work} ended with ${String(code)}: ${errors}`)
    return lines.at(-1) === undefined ? undefined : (JSON.parse(lines.at(-1)!) as unknown)
  })
  // Whoever waits for one of them need not wait for the other.
  ready.catch(() => undefined)
  result.catch(() => undefined)
  return {
    pid: child.pid!,
    ready,
    result,
    go: () => child.stdin.write('go\n'),
    kill: async (signal) => {
      child.kill(signal)
      if (signal === 'SIGKILL' && child.exitCode === null && child.signalCode === null) await once(child, 'close')
    },
  }
}

/** Lets processes create the same objects at the same time. @returns who made which: for each object, the ids of its makers */
export async function raceToCreate(racers: readonly StoreProcess[], count: number): Promise<number[][]> {
  await Promise.all(racers.map(({ ready }) => ready))
  for (const racer of racers) racer.go()
  const made = (await Promise.all(racers.map(({ result }) => result))) as number[][]
  return Array.from({ length: count }, (_, index) =>
    racers.filter((_racer, which) => made[which]!.includes(index)).map(({ pid }) => pid),
  )
}
