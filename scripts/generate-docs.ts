/**
 * Writes the documentation that follows from the source: `docs/generated/`, and the option tables in READMEs.
 * Usage: pnpm run docs [--check]   (`--check` compares and writes nothing)
 */
import { readFileSync, readdirSync, writeFileSync, mkdirSync, rmSync, existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import { generate } from './docs/generate.js'
import { readSources } from './docs/sources.js'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = 'docs/generated'
const check = process.argv.includes('--check')

const sources = await readSources(root)
const readIfPresent = (path: string) =>
  existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : undefined
const wanted = new Map<string, string>()
for (const [path, text] of generate(sources, readIfPresent)) {
  // READMEs are checked by prettier, too: what is generated has to look as prettier would write it.
  const options = await resolveConfig(join(root, path))
  wanted.set(path, await format(text, { ...options, filepath: path }))
}

const present = existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => `${folder}/${name}`) : []
const surplus = present.filter((path) => !wanted.has(path))
const stale = [...wanted].filter(([path, text]) => readIfPresent(path) !== text).map(([path]) => path)

if (check) {
  for (const path of stale) console.error(`${path} is not what the source says`)
  for (const path of surplus) console.error(`${path} is not generated any more`)
  if (stale.length + surplus.length > 0) {
    console.error('HINT: pnpm run docs')
    process.exitCode = 1
  }
} else {
  mkdirSync(join(root, folder), { recursive: true })
  for (const path of stale) {
    writeFileSync(join(root, path), wanted.get(path) ?? '')
    console.log(`wrote ${path}`)
  }
  for (const path of surplus) {
    rmSync(join(root, path))
    console.log(`removed ${path}`)
  }
}
