import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { root } from './pnpm.mjs'

const execute = promisify(execFile)

describe('the reporter, in a run of vitest', () => {
  let folder

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'test-reporter-'))
  })

  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  async function report(files) {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const reportFile = join(folder, 'report.json')
    const args = ['run', '--root', folder, '--globals', `--reporter=${join(root, 'scripts/test-reporter.mjs')}`]
    const env = { ...process.env, TEST_REPORT_FILE: reportFile }
    const exitCode = await execute(join(root, 'node_modules/.bin/vitest'), args, { cwd: folder, env }).then(
      () => 0,
      (error) => error.code,
    )
    return { exitCode, ...JSON.parse(readFileSync(reportFile, 'utf8')) }
  }

  it('counts what passed, failed and was skipped, with the reasons', async () => {
    const { exitCode, passed, failed, skipped } = await report({
      'a.test.js': `
        it('passes', () => {})
        it('fails', () => expect(1).toBe(2))
        it.skip('is skipped (skipped: no server; install one)', () => {})
        it('skips itself', (context) => context.skip('no server; install one'))
        it.todo('is planned')
      `,
    })
    expect(exitCode).toBe(1)
    expect(passed).toBe(1)
    expect(failed).toEqual([{ name: 'a.test.js > fails', reason: 'expected 1 to be 2 // Object.is equality' }])
    expect(skipped).toEqual([
      { name: 'a.test.js > is skipped (skipped: no server; install one)', note: null },
      { name: 'a.test.js > skips itself', note: 'no server; install one' },
      { name: 'a.test.js > is planned', note: null },
    ])
  })

  it('counts tests whose set-up broke as failed, not as skipped', async () => {
    const { failed, skipped } = await report({
      'a.test.js': `
        describe('suite', () => {
          beforeAll(() => { throw new Error('no database') })
          it('one', () => {})
          it('two', () => {})
        })
      `,
    })
    expect(skipped).toEqual([])
    expect(failed).toEqual([
      { name: 'a.test.js > suite > one', reason: 'did not run: no database' },
      { name: 'a.test.js > suite > two', reason: 'did not run: no database' },
    ])
  })

  it('counts a file that does not load, a broken clean-up and a stray rejection', async () => {
    const { exitCode, passed, failed } = await report({
      'broken.test.js': `throw new Error('does not load')`,
      'clean-up.test.js': `afterAll(() => { throw new Error('leak') })\nit('passes', () => {})`,
      'stray.test.js': `it('passes', () => void Promise.reject(new Error('stray')))`,
    })
    expect(exitCode).toBe(1)
    expect(passed).toBe(2)
    expect(failed).toEqual(
      expect.arrayContaining([
        { name: 'broken.test.js', reason: 'does not load' },
        { name: 'clean-up.test.js', reason: 'leak' },
        { name: 'an error outside of any test', reason: 'stray' },
      ]),
    )
    expect(failed).toHaveLength(3)
  })
})
