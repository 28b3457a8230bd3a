/** Folders and users for servers that refuse to run as root. */
import { execFile } from 'node:child_process'
import { chown, chmod, cp, mkdtemp, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
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
  if (user === undefined) throw new Error("PostgreSQL refuses to run as root, and there is neither a user 'postgres' nor 'nobody'")
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

/** The folder of binaries itself, or a copy inside `serverFolder` where the server's user could not reach it (a clone under /root). */
export async function reachableBinaries(native: string, serverFolder: string, user: SystemUser | undefined): Promise<string> {
  if (user === undefined || (await reachableByOthers(native))) return native
  const copy = join(serverFolder, 'native')
  await cp(native, copy, { recursive: true, verbatimSymlinks: true })
  return copy
}
