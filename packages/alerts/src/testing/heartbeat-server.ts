import { startProviderServer, type ProviderServer } from './provider-server.js'

export interface HeartbeatServer extends ProviderServer {
  readonly pingUrl: string
  pings(): number
}

const path = '/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278'

export async function startHeartbeat(): Promise<HeartbeatServer> {
  let pings = 0
  const server = await startProviderServer((request) => {
    if (request.path !== path) return { status: 404, body: 'not found' }
    if (!['HEAD', 'GET', 'POST'].includes(request.method)) return { status: 405, body: 'method not allowed' }
    pings += 1
    return { status: 200, body: 'OK' }
  })
  return { ...server, pingUrl: server.url + path, pings: () => pings }
}
