/** The account of what is in the image, as its Dockerfile has it made. Reads the built program. */
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'
import { execa } from 'execa'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { repository } from './docker.js'

const app = join(repository, 'apps/scheduler')

interface Component {
  readonly type: string
  readonly group?: string
  readonly name: string
  readonly version: string
  readonly purl: string
}

describe('the bill of materials', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bill-of-materials-'))
  let text: string
  let licences: string
  let components: readonly Component[]
  const names = () => components.map(({ group, name }) => (group === undefined ? name : `${group}/${name}`))

  beforeAll(async () => {
    await execa(process.execPath, [join(repository, 'docker/bill-of-materials.mjs'), app, folder])
    text = readFileSync(join(folder, 'sbom.cdx.json'), 'utf8')
    licences = readFileSync(join(folder, 'THIRD-PARTY-LICENSES.txt'), 'utf8')
    components = (JSON.parse(text) as { components: Component[] }).components
  })
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('is CycloneDX 1.6 to the letter', async () => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)
    expect(await validator.validate(text)).toBeNull()
    const planted = text.replace('"bomFormat"', '"bomFormatt"')
    expect(await validator.validate(planted)).not.toBeNull()
  })

  it('names the packages whose code is in the program, and not those that only build or test it', () => {
    expect(names()).toEqual(expect.arrayContaining(['pg', 'kysely', 'zod', 'pino', 'ioredis', '@aws-sdk/client-s3']))
    for (const absent of ['esbuild', 'vitest', 'typescript', 'pg-native', '@battlescope/postgres-testing'])
      expect(names()).not.toContain(absent)
  })

  it('has every package that the program can be seen to contain, in a version that the lockfile has', () => {
    // The bundler leaves the path of a module above its code, here and there: an account beside the one that the bill is made from.
    const dist = join(app, 'dist')
    const files = [join(dist, 'main.cjs'), ...readdirSync(join(dist, 'parts')).map((name) => join(dist, 'parts', name))]
    const path = /node_modules\/\.pnpm\/[^/\s]+\/node_modules\/((?:@[^/\s]+\/)?[^/\s]+)\//g
    const seen = new Set(
      files.flatMap((file) => [...readFileSync(file, 'utf8').matchAll(path)].map(([, name]) => name)),
    )
    expect(seen.size).toBeGreaterThan(10)
    expect(names()).toEqual(expect.arrayContaining([...seen]))
    const lockfile = readFileSync(join(repository, 'pnpm-lock.yaml'), 'utf8')
    for (const { group, name, version, type } of components) {
      if (type !== 'library' || group === '@battlescope') continue
      expect(lockfile).toContain(`${group === undefined ? '' : `${group}/`}${name}@${version}`)
    }
  })

  it('passes on what the licences of others demand', () => {
    for (const { group, name, type } of components) {
      if (type !== 'library' || group === '@battlescope') continue
      expect(licences).toContain(`${group === undefined ? '' : `${group}/`}${name} `)
    }
    expect(licences).toContain('Permission is hereby granted, free of charge')
    expect(licences).toContain('Apache License')
  })

  it('is the same each time', async () => {
    await execa(process.execPath, [join(repository, 'docker/bill-of-materials.mjs'), app, folder])
    expect(readFileSync(join(folder, 'sbom.cdx.json'), 'utf8')).toBe(text)
  })
})
