/** Reads the packages of this repository from disk. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, posix } from 'node:path'

const skipped = new Set(['node_modules', 'dist', 'coverage', '.turbo', '.tmp'])

/** Every package under `packages/` and `apps/`, and the tests in `docker/` and `infra/`: `{ folder, manifestText, files }`. */
export function readWorkspace(root) {
  const folders = ['packages', 'apps'].flatMap((parent) =>
    readdirSync(join(root, parent), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => posix.join(parent, entry.name)),
  )
  return [...folders, 'docker', 'infra']
    .filter((folder) => existsSync(join(root, folder, 'package.json')))
    .map((folder) => ({
      folder,
      manifestText: readFileSync(join(root, folder, 'package.json'), 'utf8'),
      files: new Map(listFiles(root, folder).map((path) => [path, readFileSync(join(root, path), 'utf8')])),
    }))
}

function listFiles(root, folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name)
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : listFiles(root, path)
    return /\.([cm]?[jt]s|tsx|md)$/.test(entry.name) ? [path] : []
  })
}
