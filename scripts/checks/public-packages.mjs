/** The packages that are published, and their tarballs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readWorkspace } from '../architecture/workspace.mjs'
import { capture } from '../pnpm.mjs'

/** Every package that is not private: `{ name, version, folder, entries }`, the entries as they are imported. */
export function publicPackages(root) {
  return readWorkspace(root)
    .map(({ folder }) => ({ folder, manifest: JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) }))
    .filter(({ manifest }) => manifest.private !== true)
    .map(({ folder, manifest: { name, version, publishConfig } }) => ({
      name,
      version,
      folder,
      entries: Object.keys(publishConfig.exports).map((entry) => name + entry.slice(1)),
    }))
}

/** Packs every public package as it would be published; they must be built. Resolves to `{ name, tarball, entries }` of each. */
export async function packAll(root, destination, env) {
  const packed = []
  for (const { name, version, folder, entries } of publicPackages(root)) {
    await capture('pnpm', ['pack', '--pack-destination', destination], { cwd: join(root, folder), env })
    const tarball = join(destination, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`)
    packed.push({ name, tarball, entries })
  }
  return packed
}
