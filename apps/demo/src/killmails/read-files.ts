/** Finds and reads the files behind `--killmails PATH…`. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { collectKillmails, type KillmailCollection } from './collection.js'
import { parseFile, type ParsedFile } from './parse-file.js'
import type { ParseOptions } from './parse-killmail.js'

const extensions = ['.json', '.jsonl', '.ndjson']
const gzipMagic = Buffer.from([0x1f, 0x8b])

/** The paths among `paths` that are not there, as given. */
export async function findMissingPaths(paths: readonly string[], baseFolder: string): Promise<readonly string[]> {
  const checks = await Promise.all(
    paths.map(async (path) => {
      const exists = await stat(resolve(baseFolder, path)).then(
        () => true,
        () => false,
      )
      return exists ? undefined : path
    }),
  )
  return checks.filter((path) => path !== undefined)
}

/** Reads every file, and in folders every file whose name ends in .json, .jsonl or .ndjson. What cannot be read is reported, not thrown. */
export async function readKillmailFiles(
  paths: readonly string[],
  baseFolder: string,
  options: ParseOptions,
): Promise<KillmailCollection> {
  const files: { file: string; parsed: ParsedFile }[] = []
  for (const path of paths) {
    for (const { file, problem } of await listFiles(resolve(baseFolder, path), path)) {
      const parsed = problem === undefined ? await readOne(resolve(baseFolder, file), options) : unusable(problem)
      files.push({ file, parsed })
    }
  }
  return collectKillmails(files)
}

const unusable = (why: string): ParsedFile => ({ killmails: [], valueNotes: [], problems: [{ why }] })

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error))

async function listFiles(
  absolute: string,
  path: string,
): Promise<readonly { readonly file: string; readonly problem?: string }[]> {
  try {
    if (!(await stat(absolute)).isDirectory()) return [{ file: path }]
    const entries = await readdir(absolute, { recursive: true, withFileTypes: true })
    const names = entries
      .filter((entry) => !entry.isDirectory() && extensions.some((extension) => entry.name.endsWith(extension)))
      .map((entry) => join(path, entry.parentPath.slice(absolute.length), entry.name))
      .sort()
    return names.length > 0
      ? names.map((file) => ({ file }))
      : [{ file: path, problem: `has no files that end in ${extensions.join(', ')}` }]
  } catch (error) {
    return [{ file: path, problem: `cannot be read: ${reason(error)}` }]
  }
}

async function readOne(absolute: string, options: ParseOptions): Promise<ParsedFile> {
  try {
    const bytes = await readFile(absolute)
    if (bytes.subarray(0, 2).equals(gzipMagic)) return unusable('is compressed with gzip: unpack it first')
    return parseFile(bytes.toString('utf8'), options)
  } catch (error) {
    return unusable(`cannot be read: ${reason(error)}`)
  }
}
