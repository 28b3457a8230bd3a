import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createWorld, type World } from './world.js'

describe('the driver http', () => {
  let world: World
  let server: Server
  let seen: {
    readonly method: string
    readonly path: string
    readonly key: unknown
    readonly authorization: unknown
    readonly body: string
  }[]
  let answers: { POST: [number, string]; GET: [number, string] }
  beforeEach(async () => {
    seen = []
    answers = { POST: [202, ''], GET: [200, '{"state":"running"}'] }
    server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const { method = '', url: path = '', headers } = request
        seen.push({ method, path, key: headers['idempotency-key'], authorization: headers.authorization, body })
        const [status, text] = answers[method === 'POST' ? 'POST' : 'GET']
        if (status === 0) request.socket.destroy()
        else response.writeHead(status).end(text)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    world = await createWorld({
      driver: 'http',
      url: `${origin}/backups?key=k`,
      statusUrl: `${origin}/backups/{name}`,
      token: 'a-token',
    })
  })
  afterEach(async () => {
    await world.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  const states = async () => (await world.rows()).map(({ state }) => state)

  it('asks once, with the name as key, and looks until it ended', async () => {
    expect(await world.run()).toMatchObject({ outcome: 'partial', findings: [] })
    const [row] = await world.rows()
    expect(seen).toMatchObject([
      { method: 'POST', path: '/backups?key=k', key: row?.name, authorization: 'Bearer a-token' },
    ])
    expect(JSON.parse(seen[0]?.body ?? '')).toMatchObject({ version: 1, name: row?.name, attempt: 1 })
    await world.run()
    answers.GET = [
      200,
      JSON.stringify({
        state: 'succeeded',
        sizeBytes: 42,
        finishedAt: '2026-11-23T04:00:00Z',
        location: 's3://b/1',
        more: 1,
      }),
    ]
    await world.run({ config: { minAge: '6h' } })
    expect(await world.rows()).toMatchObject([{ state: 'succeeded', size_bytes: '42', location: 's3://b/1' }])
    expect(seen.map(({ method, path }) => `${method} ${path}`).slice(1)).toEqual([
      `GET /backups/${row?.name ?? ''}`,
      `GET /backups/${row?.name ?? ''}`,
    ])
  })

  it('takes null in an answer for what is not said', async () => {
    answers.POST = [202, '{"state":"running","finishedAt":null,"location":null}']
    expect(await world.run()).toMatchObject({ outcome: 'partial' })
    expect(await states()).toEqual(['running'])
  })

  it('takes an answer to POST that says how it ended', async () => {
    answers.POST = [200, '{"state":"succeeded","sizeBytes":7}']
    expect(await world.run({ config: { statusUrl: undefined } })).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await states()).toEqual(['succeeded'])
  })

  it('never takes for a success what nobody confirmed', async () => {
    const run = await world.run({ config: { statusUrl: undefined } })
    expect(run).toMatchObject({ outcome: 'succeeded' })
    expect(run.findings.map(({ key }) => key)).toEqual(['never-succeeded', 'unconfirmed'])
    expect(await states()).toEqual(['unconfirmed'])
  })

  it.each([
    [[500, ''] as [number, string], 'http-500'],
    [[401, ''] as [number, string], 'http-401'],
    [[302, ''] as [number, string], 'http-302'],
    [[200, '{"state":"finished"}'] as [number, string], 'answer-unfit'],
    [[0, ''] as [number, string], 'ECONNRESET'],
  ])('fails on the answer %j and asks again under the same key', async (answer, code) => {
    answers.POST = answer
    expect(await world.run()).toMatchObject({ outcome: 'failed', errorCode: code })
    answers.POST = [202, '']
    expect(await world.run()).toMatchObject({ outcome: 'partial' })
    expect(new Set(seen.map(({ key }) => key)).size).toBe(1)
    expect(await states()).toEqual(['running'])
  })

  it.each([
    [[200, '{"state":"failed","message":"disk full"}'] as [number, string], 'failed'],
    // The log of a tool, whole; and what is not known yet, as most libraries write it.
    [[200, JSON.stringify({ state: 'failed', message: 'x'.repeat(5000) })] as [number, string], 'failed'],
    [[200, '{"state":"failed","startedAt":null,"sizeBytes":null,"message":null}'] as [number, string], 'failed'],
    [[404, ''] as [number, string], 'vanished'],
    [[200, '{"state":"not-found"}'] as [number, string], 'vanished'],
    [[503, ''] as [number, string], 'running'],
    [[200, '{"state":7}'] as [number, string], 'running'],
  ])('understands %j as %s', async (answer, state) => {
    await world.run()
    answers.GET = answer
    const run = await world.run()
    expect((await states())[0]).toBe(state)
    expect(run.findings.map(({ key }) => key)).toContain(state === 'running' ? 'not-seen' : state)
  })

  // The zero value of a date in Go, and a clock that is wrong.
  it.each(['0001-01-01T00:00:00Z', '2999-01-01T00:00:00Z'])('believes no begin at %s', async (startedAt) => {
    answers.GET = [200, JSON.stringify({ state: 'running', startedAt })]
    await world.run()
    await world.run()
    expect(await states()).toEqual(['running'])
    answers.GET = [200, JSON.stringify({ state: 'succeeded', startedAt })]
    const run = await world.run({ config: { minAge: '6h' } })
    expect(run.findings).toEqual([])
    const [row] = await world.rows()
    expect(row?.state).toBe('succeeded')
    const [age] = await world.database.query<{ minutes: number }>(
      `SELECT extract(epoch FROM abs(extract(epoch FROM now() - started_at)) * interval '1 s')::float8 / 60 AS minutes FROM scheduler.backup`,
    )
    expect(age?.minutes).toBeLessThan(60)
  })

  it('keeps what the service says, whatever characters it says it with', async () => {
    await world.run()
    answers.GET = [200, '{"state":"failed","message":"disk\\u0000full"}']
    const run = await world.run({ config: { attempts: 1 } })
    expect(run.findings.map(({ key }) => key)).toContain('failed')
    expect((await states())[0]).toBe('failed')
  })
})
