/**
 * A lock between processes, made of files, for the moments in which a name in a folder is replaced.
 *
 * A lock is a hard link, so that it appears together with what it says about its holder; of several processes one makes it. What a dead
 * process left behind is broken by exactly one other: whoever holds the lock `<token>.break`, which is named after the dead one and made the
 * same way, and still finds that token in place. Nobody else may remove a lock that is not his, so there is no moment in which a new lock
 * can be taken for the old one.
 */
import { createHash, randomUUID } from 'node:crypto'
import { link, lstat, readdir, readFile, readlink, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { codeOf, folderError } from './folder-errors.js'
import { pause } from './pause.js'
import { StoreError } from './store.js'

/** A lock is held for two or three system calls; who waits this long waits for a process that is stopped. */
const patienceMs = 30_000
/** Of a holder on another machine, or in another container, nothing is known but the age of its lock. */
const abandonedAfterMs = 120_000
/** Half of that: a holder that was stopped for longer gives up before it changes anything. */
const heldAtMostMs = abandonedAfterMs / 2

/** Ends the name of the file that becomes the lock by a second link. */
const waiting = '.own'

interface Process {
  /** Machine and process-id namespace: within one, process ids mean the same. */
  readonly host: string
  readonly boot: string
  readonly pid: number
  /** When the process started, in the kernel's ticks: tells it from a later one of the same id. Undefined where the kernel does not say. */
  readonly started: string | undefined
}

interface Holder extends Process {
  readonly token: string
}

/** Proof that the lock is held; asked once more right before the change. */
export interface Held {
  /** @throws StoreError `store-unavailable` when this process was stopped for so long that the lock may be another's. */
  verify(): Promise<void>
}

/** Runs `work` while no other process runs its own under the same path. @throws StoreError `store-unavailable` */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  work: (held: Held) => Promise<T>,
): Promise<T> {
  const me: Holder = { ...(await thisProcess()), token: randomUUID() }
  await acquire(path, me, signal)
  const since = performance.now()
  const isMine = async () => (await readHolder(path))?.token === me.token
  try {
    return await work({
      verify: async () => {
        if (performance.now() - since < heldAtMostMs && (await isMine())) return
        throw new StoreError('store-unavailable', `lost the lock ${path}: this process was stopped for too long`)
      },
    })
  } finally {
    if (await isMine()) await removeFile(path)
  }
}

async function acquire(path: string, me: Holder, signal: AbortSignal | undefined): Promise<void> {
  const own = join(dirname(path), me.token + waiting)
  await writeFile(own, JSON.stringify(me), { flag: 'wx' })
  try {
    const since = performance.now()
    for (let waitMs = 2; ; waitMs = Math.min(waitMs * 2, 50)) {
      signal?.throwIfAborted()
      if (await linked(own, path)) return
      const holder = await readHolder(path)
      if (holder === undefined) continue
      if (await isAbandoned(holder, path, own)) {
        await breakLock(path, holder.token, signal)
        continue
      }
      if (performance.now() - since > patienceMs) {
        throw new StoreError('store-unavailable', `another process holds the lock ${path}`, {
          hint: `process ${holder.pid} on ${holder.host}: it is stopped, or its file system is; end it if it does not go on`,
        })
      }
      await pause(waitMs, signal)
    }
  } finally {
    await removeFile(own)
  }
}

async function linked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw folderError(error, `make the lock ${path}`)
  }
}

async function breakLock(path: string, token: string, signal: AbortSignal | undefined): Promise<void> {
  await withLock(join(dirname(path), `${token}.break`), signal, async () => {
    if ((await readHolder(path))?.token === token) await removeFile(path)
  })
}

async function isAbandoned(holder: Holder, path: string, own: string): Promise<boolean> {
  const dead = await isDead(holder)
  if (dead !== undefined) return dead
  // Two files on one file system: its clock is the same for both, whatever this machine's says.
  const [lock, now] = await Promise.all([lstat(path).catch(() => undefined), lstat(own)])
  return lock !== undefined && now.ctimeMs - lock.mtimeMs > abandonedAfterMs
}

/** Undefined when that cannot be known from here: then the age of the lock decides. */
async function isDead(holder: Holder): Promise<boolean | undefined> {
  const me = await thisProcess()
  if (holder.host !== me.host) return undefined
  if (holder.boot !== me.boot || !exists(holder.pid)) return true
  // Without a time of start, a process of the same id may be another one.
  return holder.started === undefined ? undefined : (await startOf(holder.pid)) !== holder.started
}

async function readHolder(path: string): Promise<Holder | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw folderError(error, `read the lock ${path}`)
  }
  try {
    return JSON.parse(text) as Holder
  } catch {
    // Locks are not synced: a power failure may leave an empty one. Its age decides, as if it were another machine's.
    const token = `unreadable-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`
    return { token, host: '', boot: '', pid: 0, started: undefined }
  }
}

/** Removes what processes of this machine left behind, before that instant, that were killed while they took a lock. */
export async function removeDeadWaiters(folder: string, before: Date): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names.filter((each) => each.endsWith(waiting))) {
    const path = join(folder, name)
    const [holder, stats] = await Promise.all([readHolder(path), lstat(path).catch(() => undefined)])
    if (holder === undefined || stats === undefined || stats.mtimeMs >= before.getTime()) continue
    // Without content: killed between making the file and writing it.
    if (holder.host === '' || (await isDead(holder)) === true) await removeFile(path)
  }
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw folderError(error, `remove ${path}`)
  })
}

let known: Promise<Process> | undefined

function thisProcess(): Promise<Process> {
  known ??= (async () => {
    const namespace = await readlink('/proc/self/ns/pid').catch(() => 'pid')
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
    const { pid } = process
    return { host: `${hostname()} ${namespace}`, boot: boot.trim(), pid, started: await startOf(pid) }
  })()
  return known
}

/** The 22nd field of /proc/PID/stat; the second may hold spaces and brackets, so it is counted from the last bracket. */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it exists and is somebody else's.
    return codeOf(error) !== 'ESRCH'
  }
}
