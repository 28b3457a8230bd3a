import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createScrubber } from '@battlescope/scheduler-core'
import { afterEach, describe, expect, it } from 'vitest'
import { httpClientFactory } from '../src/clients/http.js'
import { proxiesFor, proxiesOf } from '../src/clients/proxies.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** A proxy that answers by itself, and says what it was asked for. */
async function startProxy() {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`)
    response.end('from the proxy')
  })
  server.on('connect', (request, socket) => {
    asked.push(`CONNECT ${request.url}`)
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
  })
  return { asked, port: await listen(server) }
}

const timeoutMs = 20_000

describe('proxies', () => {
  it('are asked for what the variables say, with their password', async () => {
    const { asked, port } = await startProxy()
    const proxies = proxiesOf({ HTTP_PROXY: `http://user:a-password@127.0.0.1:${port}` })
    const { read, close } = await httpClientFactory(proxies)
    expect(await read.get({ url: 'http://outside.example/path?x=1', timeoutMs })).toMatchObject({
      status: 200,
      body: 'from the proxy',
    })
    const authorization = `Basic ${Buffer.from('user:a-password').toString('base64')}`
    expect(asked).toEqual([`GET http://outside.example/path?x=1 ${authorization}`])
    await close()
  })

  it('make tunnels for https, and a refused one is an error without secrets', async () => {
    const { asked, port } = await startProxy()
    const { write, close } = await httpClientFactory(
      proxiesOf({ https_proxy: `http://user:a-password@127.0.0.1:${port}` }),
    )
    const error: unknown = await write
      .post({ url: 'https://outside.example/secret', body: '{}', timeoutMs })
      .catch((each: unknown) => each)
    expect(asked).toEqual(['CONNECT outside.example:443'])
    expect(error).toMatchObject({ name: 'HttpError', code: expect.any(String) as string })
    expect((error as Error).message).not.toContain('a-password')
    await close()
  })

  it('are not asked for hosts of NO_PROXY', async () => {
    const { asked, port } = await startProxy()
    const inside = await listen(createServer((_request, response) => response.end('from inside')))
    const { read, close } = await httpClientFactory(
      proxiesOf({ HTTP_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: 'localhost,127.0.0.1' }),
    )
    expect((await read.get({ url: `http://127.0.0.1:${inside}/`, timeoutMs })).body).toBe('from inside')
    expect(asked).toEqual([])
    await close()
  })

  it('are read as usual', () => {
    expect(proxiesOf({})).toBeUndefined()
    expect(proxiesOf({ HTTP_PROXY: ' ', NO_PROXY: '*' })).toBeUndefined()
    expect(proxiesOf({ http_proxy: 'http://lower:1', HTTP_PROXY: 'http://upper:1' })).toEqual({
      httpProxy: 'http://lower:1',
      httpsProxy: 'http://lower:1',
      noProxy: '',
    })
    expect(proxiesOf({ HTTPS_PROXY: 'http://p:1', no_proxy: '.svc' })).toEqual({
      httpsProxy: 'http://p:1',
      noProxy: '.svc',
    })
  })

  it('tell the scrubber their passwords', () => {
    const secrets = createScrubber()
    proxiesFor({ environment: { HTTPS_PROXY: 'http://user:p%40ssw0rd@proxy:3128' }, secrets })
    expect(secrets.scrub('p%40ssw0rd p@ssw0rd')).not.toMatch(/ssw0rd/)
  })
})
