import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { createTestDatabase, createTestRole, leakCheck, listOpenConnections, sharedServer } from '../src/index.js'

const template = {
  name: 'numbers',
  build: 'create table numbers (n int primary key); insert into numbers select generate_series(1, 3)',
}

describe('createTestDatabase', () => {
  it('clones a template, and what one clone changes stays there', async () => {
    const [one, two] = await Promise.all([createTestDatabase({ template }), createTestDatabase({ template })])
    await one.query('delete from numbers where n > $1', [1])
    expect(await one.query('select n from numbers')).toEqual([{ n: 1 }])
    expect(await two.query('select count(*)::int as count from numbers')).toEqual([{ count: 3 }])
    await Promise.all([one.drop(), two.drop()])
  })

  it('builds a template once, however many ask at the same time', async () => {
    let built = 0
    const counted = {
      name: `counted ${process.pid}`,
      build: async (url: string) => {
        built++
        const client = new pg.Client({ connectionString: url })
        await client.connect()
        await client.query('create table made ()')
        await client.end()
      },
    }
    const databases = await Promise.all([1, 2, 3, 4].map(() => createTestDatabase({ template: counted })))
    expect(built).toBe(1)
    for (const database of databases) expect(await database.query('select from made')).toEqual([])
    await Promise.all(databases.map((database) => database.drop()))
  })

  it('tries again after a template whose SQL failed', async () => {
    let attempts = 0
    const flaky = {
      name: `flaky ${process.pid}`,
      build: async () => {
        attempts++
        if (attempts === 1) throw new Error('the first attempt breaks')
      },
    }
    await expect(createTestDatabase({ template: flaky })).rejects.toThrow('the first attempt breaks')
    const database = await createTestDatabase({ template: flaky })
    expect(attempts).toBe(2)
    await database.drop()
  })

  it('drops database and roles although connections are open', async () => {
    const server = await sharedServer()
    const database = await createTestDatabase()
    const role = await createTestRole(database, {
      grants: 'create schema own authorization $role; grant create on schema public to $role',
    })
    const client = new pg.Client({ connectionString: role.url })
    client.on('error', () => undefined)
    await client.connect()
    const { rows } = await client.query('create table own.mine (); select current_user as user').then(
      (results) =>
        // pg answers several statements with a list of results
        (results as unknown as pg.QueryResult[])[1]!,
    )
    expect(rows).toEqual([{ user: role.name }])
    await database.drop()
    const admin = new pg.Client({ connectionString: server.url })
    await admin.connect()
    const left = await admin.query(
      'select datname::text as name from pg_database where datname = $1 union all select rolname::text from pg_roles where rolname = $2',
      [database.name, role.name],
    )
    await admin.end()
    expect(left.rows).toEqual([])
  })

  it('keeps the database of a failed suite when asked to', async () => {
    const database = await createTestDatabase({ keepOnFailure: true })
    const printed: string[] = []
    const { error } = console
    console.error = (line: string) => printed.push(line)
    try {
      await database.drop({ failed: true })
    } finally {
      console.error = error
    }
    expect(printed).toEqual([`kept the database of the failed suite: ${database.url}`])
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    await database.drop()
  })
})

describe('leakCheck', () => {
  it('names the connection that is left open, and waits for one that is closing', async () => {
    const database = await createTestDatabase()
    await database.query('select 1')
    await leakCheck(database.url)
    const client = new pg.Client({ connectionString: database.url, application_name: 'leaky' })
    await client.connect()
    await client.query('select 42 as leaked')
    await expect(leakCheck(database.url, 0)).rejects.toThrow(
      /1 connection\(s\) left open:\n {2}pid \d+ 'leaky' idle: select 42 as leaked/,
    )
    expect(await listOpenConnections(database.url, 0)).toMatchObject([{ applicationName: 'leaky', state: 'idle' }])
    const closing = leakCheck(database.url)
    await client.end()
    await closing
    await database.drop()
  })
})
