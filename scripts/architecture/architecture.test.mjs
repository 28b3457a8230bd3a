import { describe, expect, it } from 'vitest'
import { root } from '../pnpm.mjs'
import { findViolations, formatViolation } from './rules.mjs'
import { taskFiles } from './task-files.mjs'
import { readWorkspace } from './workspace.mjs'

describe('this repository', () => {
  const workspace = readWorkspace(root)

  it('has packages and files to judge', () => {
    expect(workspace.map(({ folder }) => folder)).toEqual(
      expect.arrayContaining(['packages/scheduler-core', 'apps/scheduler']),
    )
    expect(workspace.reduce((sum, { files }) => sum + files.size, 0)).toBeGreaterThan(30)
  })

  it('keeps to its architecture', () => {
    expect(findViolations(workspace).map(formatViolation)).toEqual([])
  })
})

/**
 * A package as the rules see it, in as few words as the case needs.
 * @param {string} folder
 * @param {Record<string, any>} content
 */
function aPackage(
  folder,
  { dependencies = {}, devDependencies = {}, exports = { '.': './dist/index.js' }, files = {}, ...rest } = {},
) {
  const name = `@battlescope/${folder.split('/')[1]}`
  const isPrivate = folder.startsWith('apps/') ? { private: true } : {}
  return {
    folder,
    manifestText: JSON.stringify({ name, ...isPrivate, exports, dependencies, devDependencies, ...rest }, null, 2),
    files: new Map(Object.entries(files).map(([path, text]) => [`${folder}/${path}`, text])),
  }
}

const workspaceOf = (...names) => Object.fromEntries(names.map((name) => [`@battlescope/${name}`, 'workspace:*']))

/**
 * @param {string} name
 * @param {Record<string, any>} content
 */
function aTask(name, { files = {}, ...rest } = {}) {
  const shape = {
    'src/index.ts': `export { task as default } from './task.js'`,
    'src/config.ts': `export const options = {}`,
    'src/queries.ts': `import { sql } from 'kysely'\nexport const selectOne = sql`,
    'src/plan.ts': `import type { Row } from './queries.js'\nexport const plan = (rows: Row[]) => rows`,
    'src/task.ts': `import { plan } from './plan.js'\nexport const task = { plan }`,
    'README.md': '# A task',
  }
  return aPackage(`packages/task-${name}`, {
    dependencies: { ...workspaceOf('scheduler-core', 'database'), kysely: '0.28.0' },
    files: { ...shape, ...files },
    ...rest,
  })
}

const core = aPackage('packages/scheduler-core')
const database = aPackage('packages/database', {
  dependencies: { pg: '8.0.0' },
  files: { 'src/pg.ts': `import pg from 'pg'` },
})
const postgresTesting = aPackage('packages/postgres-testing')
const schedulerTesting = aPackage('packages/scheduler-testing', {
  dependencies: workspaceOf('scheduler-core', 'database', 'postgres-testing'),
})
const scheduler = aPackage('apps/scheduler', { dependencies: workspaceOf('scheduler-core', 'database') })
const sound = [core, database, postgresTesting, schedulerTesting, scheduler]

/** @type {{ clockOwners: string[], environmentOwners: string[] }} */
const nobody = { clockOwners: [], environmentOwners: [] }

/** The violations when `planted` packages join, or replace, the sound ones. */
function judge(planted, owners = nobody) {
  const replaced = new Set(planted.map(({ folder }) => folder))
  return findViolations([...sound.filter(({ folder }) => !replaced.has(folder)), ...planted], owners).map(
    formatViolation,
  )
}

describe('the rules', () => {
  it('accept a sound repository', () => {
    const demo = aPackage('apps/demo', {
      dependencies: workspaceOf('database', 'postgres-testing'),
      devDependencies: workspaceOf('scheduler'),
      files: {
        'src/main.ts': `import { startServer } from '@battlescope/postgres-testing'`,
        'vitest.config.ts': `import { shared } from '../../vitest.shared.js'`,
      },
    })
    const analyze = aTask('analyze', { devDependencies: workspaceOf('scheduler-testing') })
    expect(judge([demo, analyze])).toEqual([])
  })

  it.each([
    [
      'a task that imports a task',
      [aTask('a'), aTask('b', { files: { 'src/plan.ts': `export * from '@battlescope/task-a'` } })],
      /task-b\/src\/plan\.ts:1: no task imports a task/,
    ],
    [
      'a task whose manifest names a task',
      [aTask('a'), aTask('b', { dependencies: workspaceOf('task-a') })],
      /task-b\/package\.json:\d+: no task imports a task/,
    ],
    [
      'a package that imports an app',
      [aPackage('packages/database', { files: { 'src/a.ts': `\nimport '@battlescope/scheduler'` } })],
      /database\/src\/a\.ts:2: nobody imports an app/,
    ],
    [
      'a workbench that imports code of the program',
      [
        aPackage('apps/bench', {
          devDependencies: workspaceOf('scheduler'),
          files: { 'src/a.ts': `import x from '@battlescope/scheduler'` },
        }),
      ],
      /bench\/src\/a\.ts:1: nobody imports an app/,
    ],
    [
      'core that imports the database',
      [
        aPackage('packages/scheduler-core', {
          files: { 'src/a.ts': `import type { X } from '@battlescope/database'` },
        }),
      ],
      /scheduler-core\/src\/a\.ts:1: against the direction/,
    ],
    [
      'the import() of a task in core',
      [
        aTask('a'),
        aPackage('packages/scheduler-core', { files: { 'src/a.ts': `const x = await import('@battlescope/task-a')` } }),
      ],
      /src\/a\.ts:1: against the direction/,
    ],
    [
      'an import type of a task in core',
      [
        aTask('a'),
        aPackage('packages/scheduler-core', { files: { 'src/a.ts': `type X = import('@battlescope/task-a').X` } }),
      ],
      /src\/a\.ts:1: against the direction/,
    ],
    [
      'a driver in core',
      [aPackage('packages/scheduler-core', { files: { 'src/a.ts': `import pg from 'pg'` } })],
      /src\/a\.ts:1: core knows no driver/,
    ],
    [
      'a driver in the manifest of core',
      [aPackage('packages/scheduler-core', { dependencies: { pino: '1.0.0' } })],
      /scheduler-core\/package\.json:\d+: core knows no driver/,
    ],
    [
      'require() of a command line in core',
      [aPackage('packages/scheduler-core', { files: { 'src/a.ts': `const y = require('yargs/helpers')` } })],
      /src\/a\.ts:1: core knows no driver/,
    ],
    [
      'a relative import that leaves the package',
      [aPackage('packages/database', { files: { 'src/a.ts': `import '../../scheduler-core/src/task.js'` } })],
      /relative import leaves the package/,
    ],
    [
      'a relative import of the root in code',
      [aPackage('packages/database', { files: { 'src/a.ts': `import '../../../vitest.shared.js'` } })],
      /relative import leaves the package/,
    ],
    [
      'a re-export that leaves the package',
      [aPackage('packages/database', { files: { 'test/a.test.ts': `export * from '../../x/y.js'` } })],
      /test\/a\.test\.ts:1: relative import leaves/,
    ],
    [
      'code that imports a test',
      [aPackage('packages/database', { files: { 'src/a.ts': `import '../test/a.js'` } })],
      /code imports a test/,
    ],
    [
      'a test package as dependency',
      [aTask('a', { dependencies: workspaceOf('scheduler-testing') })],
      /only ever a devDependency/,
    ],
    [
      'a test package in code',
      [
        aTask('a', {
          devDependencies: workspaceOf('scheduler-testing'),
          files: { 'src/task.ts': `import '@battlescope/scheduler-testing'` },
        }),
      ],
      /task\.ts:1: .*only ever a devDependency/,
    ],
    [
      'the program with a test server',
      [aPackage('apps/scheduler', { dependencies: workspaceOf('postgres-testing') })],
      /apps\/scheduler\/package\.json:\d+: .*only ever a devDependency/,
    ],
    [
      'an import that the manifest does not name',
      [aPackage('apps/scheduler', { files: { 'src/a.ts': `import '@battlescope/database'` } })],
      /does not name under dependencies/,
    ],
    [
      'an import past the exports',
      [aTask('a', { files: { 'src/task.ts': `import '@battlescope/database/src/client.js'` } })],
      /reaches past what @battlescope\/database exports/,
    ],
    [
      'a published package that imports what it does not depend on',
      [
        aPackage('packages/database', {
          devDependencies: { vitest: '1.0.0' },
          files: { 'src/a.ts': `import { it } from 'vitest'` },
        }),
      ],
      /imports vitest, which its package\.json does not name/,
    ],
    [
      'a package from the registry that is ours',
      [aTask('a', { dependencies: { '@battlescope/database': '1.0.0' } })],
      /must be taken from the workspace/,
    ],
    [
      'an unknown package of ours',
      [aTask('a', { devDependencies: workspaceOf('nothing') })],
      /is no package of this repository/,
    ],
    [
      'a circle',
      [aPackage('packages/database', { devDependencies: workspaceOf('scheduler-testing') })],
      /in a circle: .*database → .*scheduler-testing/,
    ],
    [
      'a folder of another name',
      [aPackage('packages/database', { name: '@battlescope/db' })],
      /is named @battlescope\/db/,
    ],
    ['an app that could be published', [aPackage('apps/scheduler', { private: false })], /apps are private/],
    [
      'Date.now()',
      [aPackage('packages/database', { files: { 'src/a.ts': `\n\nconst x = Date.now()` } })],
      /src\/a\.ts:3: Date\.now\(\)/,
    ],
    [
      'new Date()',
      [aPackage('packages/database', { files: { 'src/a.ts': `const x = new Date()` } })],
      /new Date\(\) without argument/,
    ],
    [
      'process.env',
      [aPackage('packages/database', { files: { 'src/a.ts': `const x = process.env.X` } })],
      /process\.env/,
    ],
    [
      "process['env']",
      [aPackage('packages/database', { files: { 'src/a.ts': `const x = process['env']` } })],
      /process\.env/,
    ],
    [
      'env taken out of process',
      [aPackage('packages/database', { files: { 'src/a.ts': `const { env } = process` } })],
      /process\.env/,
    ],
    [
      'env imported',
      [aPackage('packages/database', { files: { 'src/a.ts': `import { env as e } from 'node:process'` } })],
      /process\.env/,
    ],
    [
      'async in a plan',
      [aTask('a', { files: { 'src/plan.ts': `export async function plan() {}` } })],
      /plan\.ts:1: plan\.ts is pure: no async/,
    ],
    [
      'a clock in a plan',
      [aTask('a', { files: { 'src/plan.ts': `export const plan = () => performance.now()` } })],
      /plan\.ts is pure: no performance/,
    ],
    [
      'queries in a plan',
      [aTask('a', { files: { 'src/plan.ts': `import { selectOne } from './queries.js'` } })],
      /may import types of \.\/queries\.js/,
    ],
    [
      'the database in a plan',
      [aTask('a', { files: { 'src/plan.ts': `import { quote } from '@battlescope/database'` } })],
      /may import types of @battlescope\/database/,
    ],
    [
      'a loop in queries',
      [aTask('a', { files: { 'src/queries.ts': `export function x(y) { for (const z of y) z() }` } })],
      /queries\.ts:1: .*never loops/,
    ],
    [
      'logging in queries',
      [aTask('a', { files: { 'src/queries.ts': `export const x = (logger) => logger.info()` } })],
      /queries\.ts never logs/,
    ],
    [
      'SQL in a task',
      [aTask('a', { files: { 'src/task.ts': `import { sql } from 'kysely'` } })],
      /task\.ts holds no SQL/,
    ],
    ['SQL in a run', [aTask('a', { files: { 'src/run.ts': `import { sql } from 'kysely'` } })], /run\.ts holds no SQL/],
    [
      'I/O in options',
      [aTask('a', { files: { 'src/config.ts': `import fs from 'node:fs'` } })],
      /config\.ts does no I\/O/,
    ],
    ['code in an index', [aTask('a', { files: { 'src/index.ts': `export const x = 1` } })], /index\.ts holds exports/],
  ])('refuse %s', (_case, planted, expected) => {
    expect(judge(planted)).toContainEqual(expect.stringMatching(expected))
  })

  it.each(taskFiles)('refuse a task without %s', (name) => {
    const task = aTask('a')
    task.files.delete(`packages/task-a/${name}`)
    expect(judge([task])).toEqual([`packages/task-a/${name}:1: is missing: every task package has it`])
  })

  it('let the owners have the clock and the environment, and nobody else', () => {
    const files = {
      'src/clock.ts': `export const now = () => Date.now()`,
      'src/b/environment.ts': `export const e = process.env`,
    }
    const planted = [aPackage('packages/database', { files })]
    const owners = { clockOwners: ['packages/database/src/clock.ts'], environmentOwners: ['packages/database/src/b/'] }
    expect(judge(planted, owners)).toEqual([])
    expect(judge(planted)).toHaveLength(2)
  })

  it('let tests read the clock, and dates be made of numbers', () => {
    const files = { 'test/a.test.ts': `Date.now()`, 'src/a.ts': `export const at = (ms: number) => new Date(ms)` }
    expect(judge([aPackage('packages/database', { files })])).toEqual([])
  })
})
