import { createHmac, timingSafeEqual } from 'node:crypto'
import { startProviderServer, type ProviderServer, type ReceivedRequest } from './provider-server.js'

export interface WebhookServer extends ProviderServer {
  readonly webhookUrl: string
  readonly secret: string
  /** What was taken, each id once, however often it came. */
  readonly events: ReadonlyMap<string, unknown>
}

/** As the reference libraries of Standard Webhooks have it. */
const toleranceMs = 5 * 60_000

/** A receiver that verifies signatures by the specification, in code of its own. */
export async function startWebhook({ now }: { readonly now: () => Date }): Promise<WebhookServer> {
  const key = Buffer.from('an example of a key: 32 bytes ok')
  const events = new Map<string, unknown>()
  const server = await startProviderServer((request) => {
    if (request.path !== '/hook') return { status: 404, body: 'not found' }
    const problem = problemOf(request, key, now())
    if (problem !== undefined) return { status: 400, body: problem }
    const id = request.headers['webhook-id'] ?? ''
    if (!events.has(id)) events.set(id, JSON.parse(request.body))
    return { status: 204 }
  })
  return { ...server, webhookUrl: `${server.url}/hook`, secret: `whsec_${key.toString('base64')}`, events }
}

function problemOf({ headers, body }: ReceivedRequest, key: Buffer, now: Date): string | undefined {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers
  if (id === undefined || timestamp === undefined || signatures === undefined) return 'missing required headers'
  if (id.includes('.')) return 'invalid id'
  if (!/^\d+$/.test(timestamp) || Math.abs(Number(timestamp) * 1000 - now.getTime()) > toleranceMs)
    return 'invalid timestamp'
  const wanted = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest()
  const isSigned = signatures.split(' ').some((signature) => {
    const [version, text = ''] = signature.split(',')
    const given = Buffer.from(text, 'base64')
    return version === 'v1' && given.length === wanted.length && timingSafeEqual(given, wanted)
  })
  if (!isSigned) return 'no matching signature found'
  try {
    JSON.parse(body)
    return undefined
  } catch {
    return 'the body is not JSON'
  }
}
