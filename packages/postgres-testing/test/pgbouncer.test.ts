import { describe, expect, it } from 'vitest'
import pg from 'pg'
import { createTestDatabase, findPgBouncer, sharedServer, startPgBouncer } from '../src/index.js'

const installed = (await findPgBouncer()) !== undefined

describe.skipIf(!installed)('startPgBouncer (skipped without PgBouncer: apt-get install pgbouncer)', () => {
  it('shares server connections between clients, for superuser and other roles', async () => {
    const bouncer = await startPgBouncer((await sharedServer()).url, { poolSize: 1 })
    const database = await createTestDatabase()
    const role = await database.createRole()
    const clients = [1, 2].map(() => new pg.Client({ connectionString: bouncer.through(role.url) }))
    const pids: unknown[] = []
    for (const client of clients) {
      await client.connect()
      pids.push(
        (await client.query('select pg_backend_pid() as pid, current_user as user, current_database() as database'))
          .rows[0],
      )
    }
    expect(pids[0]).toEqual(pids[1])
    expect(pids[0]).toMatchObject({ user: role.name, database: database.name })
    for (const client of clients) await client.end()
    await bouncer.stop()
    const after = new pg.Client({ connectionString: bouncer.url })
    await expect(after.connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await database.drop()
  })
})
