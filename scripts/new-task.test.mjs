import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { createTestDatabase } from '../packages/postgres-testing/src/index.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findViolations } from './architecture/rules.mjs'
import { readWorkspace } from './architecture/workspace.mjs'
import { nameProblem, newTask } from './new-task.mjs'
import { capture, environmentWithPnpm, root } from './pnpm.mjs'

let folder

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'new-task-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

const listFiles = (at) =>
  readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(at, join(entry.parentPath, entry.name)))

describe('nameProblem', () => {
  it.each([
    ['OldLoot', { inside: false }, 'kebab-case'],
    ['old_loot', { inside: false }, 'kebab-case'],
    ['-loot', { inside: false }, 'kebab-case'],
    ['', { inside: false }, 'kebab-case'],
    ['a'.repeat(41), { inside: false }, 'longer than 40'],
    ['tasks', { inside: true }, 'reserved'],
    ['vacuum', { inside: false }, 'built-in'],
    ['loot', { inside: true, taken: ['loot'] }, 'already'],
  ])('refuses %j', (name, place, expected) => {
    expect(nameProblem(name, place)).toContain(expected)
  })

  it.each([
    ['old-loot', { inside: false }],
    ['loot2', { inside: true, taken: ['loot'] }],
    ['vacuum', { inside: true }],
  ])('accepts %j', (name, place) => {
    expect(nameProblem(name, place)).toBeUndefined()
  })
})

describe('a package outside of the repository', () => {
  it('has the files of every task package, and the new name everywhere', () => {
    const dir = join(folder, 'loot')
    newTask({ name: 'old-loot', dir, scope: '@acme' })
    const files = listFiles(dir)
    expect(files).toEqual(
      expect.arrayContaining([
        'src/index.ts',
        'src/config.ts',
        'src/queries.ts',
        'src/plan.ts',
        'src/task.ts',
        'README.md',
      ]),
    )
    expect(JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')).name).toBe('@acme/battlescope-task-old-loot')
    for (const file of files) expect(readFileSync(join(dir, file), 'utf8')).not.toMatch(/sample/i)
    expect(readFileSync(join(dir, 'src/task.ts'), 'utf8')).toContain('export const oldLoot: OldLoot')
    expect(readFileSync(join(dir, 'src/queries.ts'), 'utf8')).toContain(`'public.old_loot'`)
    expect(readFileSync(join(dir, 'README.md'), 'utf8')).toContain('SCHEDULER_OLD_LOOT_BATCH_SIZE')
  })

  it('is not written over what is there', () => {
    writeFileSync(join(folder, 'mine.txt'), 'mine')
    expect(() => newTask({ name: 'old-loot', dir: folder })).toThrow('not empty: nothing was written')
    expect(listFiles(folder)).toEqual(['mine.txt'])
  })

  it('needs all tarballs', () => {
    const tarballs = join(folder, 'tarballs')
    mkdirSync(tarballs)
    writeFileSync(join(tarballs, 'battlescope-scheduler-core-1.0.0.tgz'), '')
    expect(() => newTask({ name: 'old-loot', dir: join(folder, 'loot'), tarballs })).toThrow(
      'no tarball of @battlescope/scheduler-testing',
    )
  })
})

describe('a new package is green at once', { timeout: 600_000 }, () => {
  const env = { ...environmentWithPnpm(), CI: 'true', NO_COLOR: '1', FORCE_COLOR: '0' }
  const pnpm = (cwd, ...args) => capture('pnpm', args, { cwd, env })

  it('outside of the repository, by docs/writing-a-task.md, and the scheduler runs it', async () => {
    const page = readFileSync(join(root, 'docs/writing-a-task.md'), 'utf8')
    const blocks = [...page.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block)
    symlinkSync(root, join(folder, 'scheduler'), 'dir')
    const database = await createTestDatabase()
    try {
      const script = ['set -euo pipefail', ...blocks].join('\n')
      const printed = await capture('bash', ['-c', script], {
        cwd: folder,
        env: { ...env, DATABASE_URL: database.url },
      })
      expect(printed).toMatch(/Test Files.* 3 passed/)
      const rows = await database.query(`SELECT task, outcome, reason FROM scheduler.task_run WHERE task = 'loot'`)
      expect(rows).toEqual([{ task: 'loot', outcome: 'skipped', reason: 'there is no relation public.loot' }])
    } finally {
      await database.drop()
    }
  })

  it('in the repository', async () => {
    const copy = join(folder, 'copy')
    const skipped = /(^|\/)(node_modules|dist|coverage|\.turbo|\.tmp|\.git)$/
    cpSync(root, copy, { recursive: true, filter: (source) => !skipped.test(relative(root, source)) })
    await pnpm(copy, 'install', '--prefer-offline', '--no-frozen-lockfile')
    await capture(process.execPath, ['scripts/new-task.mjs', 'old-loot'], { cwd: copy, env })
    await pnpm(copy, 'install', '--prefer-offline', '--no-frozen-lockfile')
    const added = join(copy, 'packages/task-old-loot')
    await pnpm(added, 'typecheck')
    expect(await pnpm(added, 'test')).toMatch(/Test Files.* 3 passed/)
    await capture('node_modules/.bin/eslint', ['packages/task-old-loot'], { cwd: copy, env })
    await capture('node_modules/.bin/prettier', ['--check', 'packages/task-old-loot'], { cwd: copy, env })
    const violations = findViolations(readWorkspace(copy)).filter(({ file }) =>
      file.startsWith('packages/task-old-loot'),
    )
    expect(violations).toEqual([])
  })
})
