/** The program has its own functions for passwords in the place of pg's (`scripts/build-plugins.mjs`): each way of proving one, on a real server. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { battlescope } from './support.js'

let server: TestServer
let database: TestDatabase

beforeAll(async () => {
  // With a setting of its own it is no given server, whose files are somebody else's.
  server = await startPostgres({ settings: { password_encryption: 'md5' } })
  database = await createTestDatabase({ server })
})
afterAll(async () => {
  await database.drop()
  await server.stop()
})

it.for(['md5', 'scram-sha-256'])('connects by %s, and only with the right password', async (method, context) => {
  const { dataDir } = server
  if (dataDir === undefined) return context.skip('the server runs in a container; TEST_POSTGRES=embedded')
  const name = `role_${method.replaceAll('-', '_')}`
  await database.query(`SET password_encryption = '${method}'; CREATE ROLE ${name} LOGIN SUPERUSER PASSWORD 'pässword'`)
  const [stored] = await database.query<{ kind: string }>(
    `SELECT substr(rolpassword, 1, 3) AS kind FROM pg_authid WHERE rolname = '${name}'`,
  )
  expect(stored?.kind.toLowerCase()).toBe(method.slice(0, 3))
  const rules = join(dataDir, 'pg_hba.conf')
  await writeFile(rules, `host all ${name} 127.0.0.1/32 ${method}\n${await readFile(rules, 'utf8')}`)
  await database.query('SELECT pg_reload_conf()')

  const as = (password: string) => {
    const url = new URL(database.url)
    url.username = name
    url.password = password
    return battlescope(['plan'], { DATABASE_URL: url.href, SCHEDULER_TASKS: 'analyze' })
  }
  const right = await as('pässword')
  expect(right.exitCode, right.stderr).toBe(0)
  const wrong = await as('another')
  expect(wrong.exitCode).toBe(69)
  expect(wrong.stderr).toContain('authentication failed')
})
