import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Order } from './store-process.js'

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
  const args = ['--no-warnings', '--import', 'tsx', script, work, JSON.stringify(order)]
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
