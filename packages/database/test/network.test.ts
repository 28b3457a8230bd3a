import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sendCancelRequest } from '../src/cancel-request.js'
import { connectionProblem, openConnections } from '../src/index.js'

const unit = { statementTimeoutMs: 10_000 }

/** Stands between client and server, and can stop passing on what the server says. */
class Wire {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #muted = false
  #onAnswer: ((data: Buffer) => void) | undefined

  constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((client) => {
      const upstream = connect(target)
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket)
        socket.on('error', () => undefined)
      }
      client.on('data', (data) => upstream.write(data))
      client.on('close', () => upstream.destroy())
      upstream.on('close', () => client.destroy())
      upstream.on('data', (data: Buffer) => {
        this.#onAnswer?.(data)
        if (!this.#muted) client.write(data)
      })
    })
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  /** From now on the client hears nothing. */
  mute(): void {
    this.#muted = true
  }

  /** Cuts the wire when the server has said this, before the client hears it. */
  cutAt(text: string): void {
    this.#onAnswer = (data) => {
      if (!data.includes(text)) return
      this.#muted = true
      this.cut()
    }
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

describe('a bad network', () => {
  let database: TestDatabase
  const through = async (): Promise<{ wire: Wire; url: string }> => {
    const url = new URL(database.url)
    const wire = new Wire({ host: url.hostname, port: Number(url.port) })
    url.port = String(await wire.listen())
    url.search = '?sslmode=disable'
    return { wire, url: url.href }
  }

  beforeAll(async () => {
    database = await createTestDatabase()
    await database.query('create table public.notes (id int primary key)')
  })
  afterAll(() => database.drop())

  it('leaves open whether a COMMIT happened whose answer was lost', async () => {
    const { wire, url } = await through()
    const connections = openConnections({ url, applicationName: 'wire' })
    const committing = connections.transaction(unit, async ({ db }) => {
      await sql`insert into public.notes values (1)`.execute(db)
      wire.cutAt('COMMIT')
    })
    await expect(committing).rejects.toMatchObject({ code: 'commit-unknown' })
    // It did happen, which is why nobody may do it again without looking.
    expect(await database.query('select id from public.notes')).toEqual([{ id: 1 }])
    await connections.close()
    await wire.close()
  })

  it('does not make a statement hang whose answer never comes', async () => {
    const { wire, url } = await through()
    const connections = openConnections({ url, applicationName: 'wire' })
    const db = connections.reader({ statementTimeoutMs: 1 })
    await sql`select 1`.execute(connections.reader(unit))
    wire.mute()
    await expect(sql`select 1`.execute(db)).rejects.toMatchObject({
      code: 'connection-lost',
      message: 'the server did not answer within 5001 ms',
    })
    await connections.close()
    await wire.close()
  })

  it('gives up connecting in time', async () => {
    const silent = createServer((socket) => socket.on('error', () => undefined).resume())
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    for (const sslmode of ['disable', 'prefer', 'require']) {
      const connections = openConnections({
        url: `postgresql://u:p@127.0.0.1:${port}/db?sslmode=${sslmode}`,
        applicationName: 'wire',
        connectTimeoutMs: 50,
      })
      const error: unknown = await connections.probe().catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'connect-timeout' })
      expect(connectionProblem(error).kind).toBe('timeout')
      await connections.close()
    }
    const stop = new AbortController()
    const aborted = openConnections({ url: `postgresql://u:p@127.0.0.1:${port}/db`, applicationName: 'wire' })
    const probing = aborted.probe({ signal: stop.signal })
    const outcome = expect(probing).rejects.toThrow('stop connecting')
    stop.abort(new Error('stop connecting'))
    await outcome
    await aborted.close()
    expect(await sendCancelRequest({ endpoint: { host: '127.0.0.1', port }, processId: 1, secretKey: 2 }, 50)).toBe(
      false,
    )
    silent.close()
  })

  it('is told apart by codes, with a hint and without the password', async () => {
    const role = await database.createRole({ grants: 'revoke connect on database ' + database.name + ' from public' })
    const { host, port } = { host: new URL(database.url).hostname, port: new URL(database.url).port }
    const limited = await database.createRole({
      attributes: 'connection limit 0',
      grants: `grant connect on database ${database.name} to $role`,
    })
    const notPostgres = createServer((socket) =>
      socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    )
    notPostgres.listen(0, '127.0.0.1')
    await once(notPostgres, 'listening')
    const strange = (notPostgres.address() as AddressInfo).port
    const cases: [string, string, string][] = [
      ['postgresql://u:secret@127.0.0.1:1/db', 'unreachable', 'ECONNREFUSED'],
      ['postgresql://u:secret@localhost:1/db', 'unreachable', 'ECONNREFUSED'],
      ['postgresql://u:secret@nowhere.invalid/db', 'unknown-host', 'ENOTFOUND'],
      ['postgresql://u:secret@/db?host=/nowhere', 'unreachable', 'ENOENT'],
      [`postgresql://postgres:secret@${host}:${port}/postgres`, 'authentication', '28P01'],
      [`postgresql://nobody:secret@${host}:${port}/postgres`, 'authentication', '28P01'],
      [`postgresql://postgres@${host}:${port}/postgres`, 'authentication', 'password-missing'],
      [database.url.replace(database.name, 'absent_database'), 'database-missing', '3D000'],
      [role.url, 'permission', '42501'],
      [limited.url, 'too-many-connections', '53300'],
      [`postgresql://u:secret@127.0.0.1:${strange}/db?sslmode=disable`, 'lost', 'connection-lost'],
      [`postgresql://u:secret@127.0.0.1:${strange}/db?sslmode=require`, 'tls', 'tls-refused'],
    ]
    for (const [url, kind, code] of cases) {
      const connections = openConnections({ url, applicationName: 'wire' })
      const error: unknown = await connections.probe().catch((caught: unknown) => caught)
      // A machine whose resolver is out of reach says EAI_AGAIN.
      expect(code === 'ENOTFOUND' ? [code, 'EAI_AGAIN'] : [code], url).toContain((error as { code: string }).code)
      const problem = connectionProblem(error)
      expect(problem.kind).toBe(kind)
      expect(problem.message).toMatch(/^cannot connect to .+: .+/)
      expect(problem.hint).not.toBe('')
      expect(JSON.stringify(problem) + String((error as Error).stack)).not.toContain('secret')
      await connections.close()
    }
    notPostgres.close()
  })

  it('says something of any error', () => {
    expect(connectionProblem(new Error('odd'))).toMatchObject({ kind: 'other', message: 'odd' })
    expect(connectionProblem(Object.assign(new Error('denied'), { code: '42501' }))).toMatchObject({
      kind: 'other',
      message: 'denied',
    })
    expect(connectionProblem('text')).toMatchObject({ kind: 'other', message: 'text' })
    expect(connectionProblem(undefined)).toMatchObject({ kind: 'other' })
    expect(connectionProblem(Object.assign(new Error(''), { code: 'ECONNREFUSED' }))).toMatchObject({
      kind: 'unreachable',
      message: 'nothing answers there',
    })
  })
})
