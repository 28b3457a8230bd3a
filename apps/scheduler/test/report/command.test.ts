/** `report` as it is typed, on a real database. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { battlescope } from '../support.js'

let database: TestDatabase
let folder: string
beforeEach(async () => {
  database = await createTestDatabase()
  folder = mkdtempSync(join(tmpdir(), 'scheduler-report-'))
})
afterEach(async () => {
  rmSync(folder, { recursive: true, force: true })
  await database.drop()
})

const environment = () => ({ DATABASE_URL: database.url, SCHEDULER_TASKS: 'analyze,statistics' })
const plain = (page: string) => page.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')

describe('report', () => {
  it('says that nothing ran yet, and makes no schema', async () => {
    const out = join(folder, 'report.html')
    const { exitCode, stdout, stderr } = await battlescope(['report', '--out', out], environment())
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' })
    expect(stderr).toContain("Nothing has run here yet: the schema 'scheduler' does not exist.")
    expect(stderr).toContain(`written: ${out}`)
    expect(plain(readFileSync(out, 'utf8'))).toContain('Nothing has run here yet')
    expect(await database.query(`SELECT 1 FROM pg_namespace WHERE nspname = 'scheduler'`)).toEqual([])
  })

  it('tells of runs what is on record, on stdout, to a role that may only read', async () => {
    await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 700) AS id')
    expect((await battlescope(['run', '--task', 'analyze'], environment())).exitCode).toBe(0)
    await battlescope(['pause', 'statistics', '--reason', '</script><img src=x onerror=alert(1)>'], environment())
    await database.query(`
      INSERT INTO scheduler.statistics_table_growth (day, relation, row_estimate, heap_bytes, toast_bytes, index_bytes)
        SELECT (now() AT TIME ZONE 'UTC')::date - d, 'public.battles', 700, 1073741824 - d * 1048576, 0, 0 FROM generate_series(0, 20) AS d`)
    const role = await database.createRole({
      grants: 'GRANT USAGE ON SCHEMA scheduler TO $role; GRANT SELECT ON ALL TABLES IN SCHEMA scheduler TO $role',
    })
    const { exitCode, stdout, stderr } = await battlescope(['report', '--out', '-'], {
      ...environment(),
      DATABASE_URL: role.url,
    })
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    expect(stdout.startsWith('<!doctype html>')).toBe(true)
    expect(stdout.trimEnd().endsWith('</html>')).toBe(true)
    const text = plain(stdout)
    expect(text).toContain('until somebody resumes it: &lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;')
    expect(text).toContain('Runs of the scheduler 1 0 with an exit code other than 0')
    expect(text).toContain('1.02 GiB in 20 days')
    expect(text).toContain('+1.00 MiB a day')
    expect(stdout).not.toMatch(/<script|<img/)
    // The program's loader reads its text byte by byte: whatever is not ASCII has to be escaped in it.
    expect(text).toContain('✓ succeeded')
    expect(text).not.toMatch(/[\u0080-\u00bf\u00e2]/)
  })

  it('says so when the tables are of another version', async () => {
    await battlescope(['migrate'], environment())
    await database.query('UPDATE scheduler.meta SET schema_version = schema_version + 1')
    const { exitCode, stdout, stderr } = await battlescope(['report', '--out', '-'], environment())
    expect(exitCode).toBe(0)
    expect(stderr).toContain('A newer version made it: use that one.')
    expect(plain(stdout)).toContain('A newer version made it')
  })

  it('replaces a file, also behind a link, and leaves nothing else', async () => {
    const [out, link] = [join(folder, 'report.html'), join(folder, 'link.html')]
    writeFileSync(out, 'before')
    symlinkSync(out, link)
    expect((await battlescope(['report', '--out', link], environment())).exitCode).toBe(0)
    expect(readFileSync(out, 'utf8')).toContain('<!doctype html>')
    expect(readdirSync(folder).sort()).toEqual(['link.html', 'report.html'])
  })

  it.each([
    ['a folder', () => ['--out', folder], /is there, and is no file/],
    ['a folder that is not there', () => ['--out', join(folder, 'no/report.html')], /cannot be written/],
    ['no duration', () => ['--since', 'yesterday'], /'yesterday' is no duration/],
    ['too short', () => ['--since', '5m'], /expected from 1h to 5 years/],
    ['too long', () => ['--since', '9999d'], /expected from 1h to 5 years/],
  ])('refuses %s', async (_, argv, message) => {
    mkdirSync(join(folder, 'kept'))
    const { exitCode, stderr } = await battlescope(['report', ...argv()], environment())
    expect(exitCode).toBe(64)
    expect(stderr).toMatch(message)
    expect(stderr).toContain('hint: ')
    expect(readdirSync(folder)).toEqual(['kept'])
    expect(statSync(folder).isDirectory() && !existsSync('report.html')).toBe(true)
  })
})
