import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { root } from '../pnpm.mjs'
import { compile } from './declarations.mjs'

describe('compile, with TypeScript 5.4', () => {
  let folder

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'declarations-'))
    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true })
    symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'))
  })

  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  function write(files) {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
  }

  const aPackage = (name, declarations) => ({
    [`node_modules/${name}/package.json`]: JSON.stringify({
      name,
      type: 'module',
      exports: { types: './index.d.ts', default: './index.js' },
    }),
    [`node_modules/${name}/index.d.ts`]: declarations,
  })
  const consumer = {
    'package.json': '{ "type": "module" }',
    'consumer.ts': `export * as package0 from '@battlescope/x'\n`,
  }

  it('finds nothing wrong with sound declarations', () => {
    write({ ...consumer, ...aPackage('@battlescope/x', 'export declare const x: NodeJS.Platform\n') })
    expect(compile(folder)).toEqual([])
  })

  it.each([
    ['a type that does not exist', 'export declare const x: Missing\n', "Cannot find name 'Missing'"],
    [
      'a package that is not installed',
      `import type { Y } from 'absent'\nexport declare const x: Y\n`,
      "Cannot find module 'absent'",
    ],
    ['syntax that is younger', 'export declare const enum : number\n', 'expected'],
  ])('finds %s in our own declarations', (_case, declarations, expected) => {
    write({ ...consumer, ...aPackage('@battlescope/x', declarations) })
    expect(compile(folder).join('\n')).toMatch(new RegExp(`^@battlescope/x/index\\.d\\.ts:\\d: .*${expected}`, 'm'))
  })

  it('leaves the declarations of others out', () => {
    write({
      ...consumer,
      ...aPackage('@battlescope/x', `import type { Y } from 'foreign'\nexport declare const x: Y\n`),
      ...aPackage('foreign', 'export type Y = Missing\n'),
    })
    expect(compile(folder)).toEqual([])
  })
})
