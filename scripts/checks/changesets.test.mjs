import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from '../pnpm.mjs'
import { publicPackages } from './public-packages.mjs'

const folder = join(root, '.changeset')

describe('changesets', () => {
  // One that names a private package, too, keeps `changeset version` from making any version.
  it('name packages that are published', () => {
    const names = new Set(publicPackages(root).map(({ name }) => name))
    const named = readdirSync(folder)
      .filter((file) => file.endsWith('.md') && file !== 'README.md')
      .map((file) => ({ file, packages: packagesOf(readFileSync(join(folder, file), 'utf8')) }))
    expect(named.filter(({ packages }) => packages.length === 0)).toEqual([])
    expect(
      named.flatMap(({ file, packages }) =>
        packages.filter((name) => !names.has(name)).map((name) => `${file}: ${name}`),
      ),
    ).toEqual([])
  })
})

/** The packages of its front matter. */
function packagesOf(text) {
  const [, head = ''] = /^---\n(.*?)\n---\n/s.exec(text) ?? []
  return [...head.matchAll(/^'(.+)': (?:major|minor|patch)$/gm)].map(([, name]) => name)
}
