import { limitOf } from './limits.js'
import { startProviderServer, type ProviderServer } from './provider-server.js'
import { asFields, halfCharacters, parseFields, type JsonFields } from './rules.js'

export interface SlackServer extends ProviderServer {
  readonly webhookUrl: string
  /** What was posted, oldest first. */
  readonly posts: readonly JsonFields[]
}

const path = '/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX'

export async function startSlack(): Promise<SlackServer> {
  const posts: JsonFields[] = []
  const server = await startProviderServer((request) => {
    if (request.path !== path) return { status: 404, body: 'no_service' }
    if (request.method !== 'POST') return { status: 400, body: 'invalid_payload' }
    const message = parseFields(request.body)
    if (message === undefined || halfCharacters(request.body).length > 0)
      return { status: 400, body: 'invalid_payload' }
    const problem = problemOf(message)
    if (problem !== undefined) return { status: 400, body: problem }
    posts.push(message)
    return { status: 200, body: 'ok' }
  })
  return { ...server, webhookUrl: server.url + path, posts }
}

function problemOf(message: JsonFields): string | undefined {
  const blocks: unknown[] = Array.isArray(message.blocks) ? message.blocks : []
  const text = typeof message.text === 'string' ? message.text : ''
  if (text === '' && blocks.length === 0) return 'no_text'
  if (blocks.length > limitOf('slack.blocks')) return 'invalid_blocks'
  const sections = blocks.map((block) => asFields(block)).filter((block) => block?.type === 'section')
  const texts = sections.map((section) => asFields(section?.text)?.text)
  const maxText = limitOf('slack.section')
  if (texts.some((each) => typeof each !== 'string' || each === '' || each.length > maxText)) return 'invalid_blocks'
  if (texts.join('').length > limitOf('slack.message')) return 'msg_blocks_too_long'
  return undefined
}
