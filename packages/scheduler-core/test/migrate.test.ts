import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, createTestRole, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, schemaVersion } from '../src/state/migrate.js'
import { migrations } from '../src/state/migrations.js'

let database: TestDatabase
let connections: DatabaseConnections
beforeEach(async () => {
  database = await createTestDatabase()
  connections = openConnections({ url: database.url, applicationName: 'battlescope-scheduler', maxConnections: 8 })
})
afterEach(async () => {
  await connections.close()
  await database.drop()
})

describe('migrate', () => {
  it('makes the schema once, however many processes try at once', async () => {
    const results = await Promise.all([1, 2, 3, 4].map(() => migrate(connections, 'scheduler')))
    expect(results.filter(({ from }) => from === undefined)).toHaveLength(1)
    expect(results.every(({ to }) => to === schemaVersion)).toBe(true)
  })

  it('lives in a schema of any name', async () => {
    await migrate(connections, 'Odd "name".x')
    expect(await database.query(`SELECT schema_version FROM "Odd ""name"".x".meta`)).toEqual([
      { schema_version: schemaVersion },
    ])
  })

  it('updates an older schema step by step, and keeps its rows', async () => {
    await migrate(connections, 'scheduler')
    await database.query(`INSERT INTO scheduler.task (name) VALUES ('kept')`)
    const newer = [...migrations, 'ALTER TABLE {schema}.task ADD COLUMN extra int DEFAULT 3']
    expect(await migrate(connections, 'scheduler', { migrations: newer })).toEqual({
      from: schemaVersion,
      to: schemaVersion + 1,
    })
    expect(await database.query('SELECT name, extra FROM scheduler.task')).toEqual([{ name: 'kept', extra: 3 }])
    expect(await migrate(connections, 'scheduler', { migrations: newer })).toEqual({
      from: schemaVersion + 1,
      to: schemaVersion + 1,
    })
  })

  it('refuses a schema that a newer version made', async () => {
    await migrate(connections, 'scheduler', { migrations: [...migrations, 'SELECT 1'] })
    await expect(migrate(connections, 'scheduler')).rejects.toMatchObject({ code: 'schema-newer', exitCode: 78 })
  })

  it('leaves nothing of a step that fails', async () => {
    await expect(
      migrate(connections, 'scheduler', {
        migrations: [...migrations, 'CREATE TABLE {schema}.half (id int); SELECT 1/0'],
      }),
    ).rejects.toMatchObject({ code: '22012' })
    expect(await database.query(`SELECT 1 FROM pg_namespace WHERE nspname = 'scheduler'`)).toEqual([])
  })

  it('says what is missing when the role may not make the schema, and uses one that was made for it', async () => {
    const role = await createTestRole(database)
    const restricted = openConnections({ url: role.url, applicationName: 'battlescope-scheduler' })
    try {
      const refusal: unknown = await migrate(restricted, 'scheduler').catch((error: unknown) => error)
      expect(refusal).toMatchObject({ code: 'database-permission', exitCode: 78 })
      expect((refusal as { hint: string }).hint).toContain('CREATE SCHEMA')
      await database.query(`CREATE SCHEMA scheduler AUTHORIZATION ${role.name}`)
      expect(await migrate(restricted, 'scheduler')).toEqual({ from: undefined, to: schemaVersion })
    } finally {
      await restricted.close()
    }
  })
})
