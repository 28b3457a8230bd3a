import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { httpClientFactory } from '../src/clients/http.js'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const started = createServer(handle)
  server = started
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}`
}

const timeoutMs = 20_000

describe('the HTTP client', () => {
  it('gets and posts, with headers and body; any status is a response', async () => {
    const seen: unknown[] = []
    const url = await serve((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        seen.push([request.method, request.url, request.headers['idempotency-key'], body])
        response.writeHead(503, { 'retry-after': '3' }).end('busy')
      })
    })
    const { read, write } = await httpClientFactory()
    const headers = { 'Idempotency-Key': 'slot-1' }
    expect(await read.get({ url: `${url}/health?x=1`, headers, timeoutMs })).toMatchObject({
      status: 503,
      headers: { 'retry-after': '3' },
      body: 'busy',
    })
    await write.post({ url: `${url}/run`, headers, body: '{"a":1}', timeoutMs })
    expect(seen).toEqual([
      ['GET', '/health?x=1', 'slot-1', ''],
      ['POST', '/run', 'slot-1', '{"a":1}'],
    ])
  })

  it('lets readers only read', async () => {
    const { read } = await httpClientFactory()
    expect(Object.keys(read)).toEqual(['get'])
  })

  it('follows no redirect: headers would go where nobody sent them', async () => {
    const url = await serve((_request, response) => response.writeHead(302, { location: '/elsewhere' }).end())
    const { read } = await httpClientFactory()
    expect((await read.get({ url, timeoutMs })).status).toBe(302)
  })

  it('reads a bounded body', async () => {
    const url = await serve((_request, response) => response.end('x'.repeat(1024 * 1024 + 1)))
    const { read } = await httpClientFactory()
    await expect(read.get({ url, timeoutMs })).rejects.toMatchObject({ code: 'http-body-too-large' })
  })

  it('gives up after its timeout, also in the middle of a body', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200)
      response.write('begun')
    })
    const { read } = await httpClientFactory()
    await expect(read.get({ url, timeoutMs: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  })

  it('ends with the reason of the signal, and when it is closed', async () => {
    const url = await serve(() => undefined)
    const { read, close } = await httpClientFactory()
    const stop = new AbortController()
    const stopped = read.get({ url, timeoutMs, signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(stopped).rejects.toThrow('enough')
    const closed = read.get({ url, timeoutMs })
    await close()
    await expect(closed).rejects.toMatchObject({ code: 'http-closed' })
  })

  it('names what failed by its code, and shows neither credentials nor query', async () => {
    const { read } = await httpClientFactory()
    const url = 'http://127.0.0.1:1/path?token=SeCrEt'
    await expect(read.get({ url, timeoutMs })).rejects.toMatchObject({
      code: expect.stringMatching(/^ECONNREFUSED$|^http-failed$/) as string,
    })
    await expect(read.get({ url, timeoutMs })).rejects.not.toThrow('SeCrEt')
    await expect(read.get({ url: 'not a URL', timeoutMs })).rejects.toMatchObject({ code: 'http-invalid-url' })
    await expect(read.get({ url: 'ftp://host/x', timeoutMs })).rejects.toMatchObject({ code: 'http-invalid-url' })
  })
})
