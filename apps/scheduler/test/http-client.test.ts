import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

const noOpenSsl =
  spawnSync('openssl', ['version']).status === 0 ? '' : ' (skipped: openssl is not installed; apt-get install openssl)'

describe.skipIf(noOpenSsl !== '')(`the HTTP client, where authorities are named${noOpenSsl}`, () => {
  /** A server whose certificate nobody knows. */
  async function serveTls(handle: (request: IncomingMessage, response: ServerResponse) => void) {
    const folder = mkdtempSync(join(tmpdir(), 'http-client-'))
    try {
      const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
      execFileSync(
        'openssl',
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=api -addext subjectAltName=IP:127.0.0.1'
          .split(' ')
          .concat(['-keyout', key, '-out', cert]),
        { stdio: 'ignore' },
      )
      const certificate = readFileSync(cert, 'utf8')
      const started = createTlsServer({ key: readFileSync(key), cert: certificate }, handle)
      server = started
      await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
      return { certificate, url: `https://127.0.0.1:${(started.address() as AddressInfo).port}` }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  it('trusts them, and without them does not', async () => {
    const seen: unknown[] = []
    const { url, certificate } = await serveTls((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        seen.push([request.method, request.headers['x-a'], request.headers['content-length'], body])
        response.writeHead(409, { 'x-b': ['1', '2'] }).end('ü')
      })
    })
    const { write } = await httpClientFactory()
    const answer = await write.post({ url, headers: { 'x-a': '1' }, body: 'ä', caCertificate: certificate, timeoutMs })
    expect(answer).toMatchObject({ status: 409, headers: { 'x-b': '1, 2' }, body: 'ü' })
    expect(seen).toEqual([['POST', '1', '2', 'ä']])
    await expect(write.get({ url, timeoutMs })).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  })

  it('trusts nobody else', async () => {
    const other = await serveTls((_request, response) => response.end())
    server?.close()
    const { url } = await serveTls((_request, response) => response.end())
    const { read } = await httpClientFactory()
    const refused = read.get({ url, caCertificate: other.certificate, timeoutMs })
    await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(/CERT/) as string })
  })

  it('keeps its limits: time, size, signal, and no redirect', async () => {
    const { url, certificate: caCertificate } = await serveTls((request, response) => {
      if (request.url === '/large') response.end('x'.repeat(1024 * 1024 + 1))
      else if (request.url === '/moved') response.writeHead(302, { location: '/large' }).end()
      else response.write('begun')
    })
    const { read, close } = await httpClientFactory()
    const get = (path: string, more = {}) => read.get({ url: `${url}${path}`, caCertificate, timeoutMs, ...more })
    await expect(get('/large')).rejects.toMatchObject({ code: 'http-body-too-large' })
    await expect(get('/slow', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect((await get('/moved')).status).toBe(302)
    const stop = new AbortController()
    const stopped = get('/slow', { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(stopped).rejects.toThrow('enough')
    const closed = get('/slow')
    await close()
    await expect(closed).rejects.toMatchObject({ code: 'http-closed' })
  })

  it('names them for https alone', async () => {
    const { read } = await httpClientFactory()
    const refused = read.get({ url: 'http://127.0.0.1:9/', caCertificate: 'x', timeoutMs })
    await expect(refused).rejects.toMatchObject({ code: 'http-invalid-url' })
  })
})
