/** One child process: no shell, an environment of its own, and an end that is certain. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { ProgramError } from './programs.js'

export interface ChildOptions {
  readonly program: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly signal: AbortSignal | undefined
  readonly timeoutMs?: number
  /** Cuts secrets out of what the child says. */
  readonly scrub: (text: string) => string
}

/** Between SIGTERM and SIGKILL. Short: where the run itself was aborted, our own process ends within seconds. */
const killAfterMs = 2000
/** Of the outputs: a backup tool at its most talkative writes less, and a broken one must not fill our memory. */
const maxLogBytes = 1024 * 1024

export interface Child {
  readonly process: ChildProcess
  /** Resolves when the process and its outputs have ended, never rejects once it was spawned. */
  readonly ended: Promise<Ending>
  log(): string
  /** Ends the whole group. */
  stop(): void
}

export interface Ending {
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly timedOut: boolean
}

/**
 * Starts it in a process group of its own, so that what it starts in turn ends with it.
 * @param keeps outputs that go into the log; the others are the caller's to read
 * @throws ProgramError `program-missing`, `program-denied`; the signal's reason
 */
export async function startChild(options: ChildOptions, keeps: readonly ('stdout' | 'stderr')[]): Promise<Child> {
  const { program, args, env, signal, timeoutMs, scrub } = options
  signal?.throwIfAborted()
  const child = spawn(program, [...args], { env: { ...env }, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  // A child that reads no input, or no more, is no failure of ours: its exit code says what it is.
  child.stdin.on('error', () => undefined)
  const log = new Log(scrub)
  for (const output of keeps) child[output].on('data', (chunk: Buffer) => log.add(chunk))
  try {
    await once(child, 'spawn')
  } catch (error) {
    throw notStarted(program, error)
  }
  // From here on: a signal that could not be delivered.
  child.on('error', () => undefined)
  let killTimer: NodeJS.Timeout | undefined
  let timedOut = false
  let hasEnded = false
  const stop = () => {
    // Of a group that ended nobody is left, and its number may be another's.
    if (hasEnded || killTimer !== undefined) return
    signalGroup(child, 'SIGTERM')
    killTimer = setTimeout(() => signalGroup(child, 'SIGKILL'), killAfterMs)
  }
  const deadline =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true
          stop()
        }, timeoutMs)
  // When we end in order, nothing is left behind. (After a SIGKILL of ours its pipes are closed, which ends whoever writes into them.)
  const atExit = () => signalGroup(child, 'SIGKILL')
  process.once('exit', atExit)
  signal?.addEventListener('abort', stop, { once: true })
  const ended = new Promise<Ending>((resolve) => {
    child.once('close', (exitCode, signalName) => {
      hasEnded = true
      clearTimeout(deadline)
      clearTimeout(killTimer)
      process.off('exit', atExit)
      signal?.removeEventListener('abort', stop)
      resolve({ exitCode: exitCode ?? undefined, signal: signalName ?? undefined, timedOut })
    })
  })
  // What the group leader started may outlive it and hold the outputs open: then 'close' would not come.
  child.once('exit', () => signalGroup(child, 'SIGTERM'))
  if (signal?.aborted === true) stop()
  return { process: child, ended, log: () => log.text(), stop }
}

function signalGroup({ pid }: ChildProcess, name: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, name)
  } catch {
    // Nobody of the group is left.
  }
}

function notStarted(program: string, error: unknown): ProgramError {
  const { code, message } = error as { readonly code?: string; readonly message: string }
  if (code === 'ENOENT') {
    return new ProgramError(
      'program-missing',
      `there is no program ${program} here`,
      'the stock image has neither pg_dump nor a shell: use an image that has the program, in a CronJob of its own, or the driver kubernetes or http',
    )
  }
  if (code === 'EACCES') {
    return new ProgramError('program-denied', `${program} may not be executed`, 'it needs the right x for this user')
  }
  return new ProgramError('program-failed', `${program} could not be started: ${message}`)
}

/** The end of what was written. */
class Log {
  readonly #scrub: (text: string) => string
  #chunks: Buffer[] = []
  #bytes = 0
  #cut = false

  constructor(scrub: (text: string) => string) {
    this.#scrub = scrub
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
    while (this.#bytes > maxLogBytes && this.#chunks.length > 1) {
      this.#bytes -= this.#chunks.shift()?.byteLength ?? 0
      this.#cut = true
    }
  }

  text(): string {
    const text = this.#scrub(Buffer.concat(this.#chunks).toString('utf8')).replaceAll('\0', '')
    return this.#cut ? `… the beginning is cut off\n${text}` : text
  }
}
