/** Folders and users for servers that refuse to run as root. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'

export interface SystemUser {
  readonly uid: number
  readonly gid: number
}

const run = promisify(execFile)

async function selectUser(name: string): Promise<SystemUser | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])])
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  } catch {
    return undefined
  }
}

/** Whom a server runs as when we are root: `postgres` where it exists, else `nobody`. Nobody is created. Undefined: we are not root. */
export async function selectUnprivilegedUser(): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const user = (await selectUser('postgres')) ?? (await selectUser('nobody'))
  if (user === undefined)
    throw new Error("PostgreSQL refuses to run as root, and there is neither a user 'postgres' nor 'nobody'")
  return user
}

/** A new folder directly in the temporary directory: Unix socket paths may have at most 107 bytes. */
export async function makeServerFolder(prefix: string, user: SystemUser | undefined): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix))
  await chmod(folder, 0o755)
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  return folder
}

/** Whether every folder above `path` may be entered by anybody. */
async function reachableByOthers(path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

export interface PlacedBinaries {
  readonly folder: string
  /** Puts them there. */
  bring(): Promise<void>
}

/** Where the server's user can reach the binaries: in place, or in a copy inside `serverFolder` (for a clone under /root). */
export async function placeBinaries(
  native: string,
  serverFolder: string,
  user: SystemUser | undefined,
): Promise<PlacedBinaries> {
  if (user === undefined || (await reachableByOthers(native))) return { folder: native, bring: async () => undefined }
  const folder = join(serverFolder, 'native')
  return { folder, bring: () => copyAs(user, native, folder) }
}

/** We read and the user writes, so that the copy is the user's own: the guard, who is that user, must be able to remove it. */
async function copyAs(user: SystemUser, from: string, to: string): Promise<void> {
  await mkdir(to)
  await chown(to, user.uid, user.gid)
  const reader = spawn('tar', ['-C', from, '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const writer = spawn('tar', ['-C', to, '-xf', '-'], { stdio: ['pipe', 'ignore', 'inherit'], ...user })
  const ended = Promise.all([once(reader, 'close'), once(writer, 'close')])
  await pipeline(reader.stdout, writer.stdin)
  if ((await ended).some(([code]) => code !== 0)) throw new Error(`could not copy the binaries of PostgreSQL to ${to}`)
}
