/** Writes a file whole or not at all: whoever looks at it meanwhile sees the one before. */
import { randomUUID } from 'node:crypto'
import { realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { codeOf, messageOf, SchedulerError } from '@battlescope/scheduler-core'

/** Replaces a file that is there; behind a link, the file that it points to. @throws SchedulerError `usage` */
export async function writeWhole(path: string, text: string): Promise<void> {
  const target = await targetOf(path)
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`)
  try {
    await writeFile(temporary, text, { flag: 'wx' })
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw new SchedulerError('usage', `--out: ${path} cannot be written: ${messageOf(error)}`, {
      hint: 'name a file in a folder that exists and may be written to, or - for stdout',
      cause: error,
    })
  }
}

async function targetOf(path: string): Promise<string> {
  try {
    if (!(await stat(path)).isFile())
      throw new SchedulerError('usage', `--out: ${path} is there, and is no file`, {
        hint: 'name a file, such as report.html, or - for stdout',
      })
    return await realpath(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    return path
  }
}
