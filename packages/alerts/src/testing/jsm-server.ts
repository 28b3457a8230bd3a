import {
  startProviderServer,
  type ProviderAnswer,
  type ProviderServer,
  type ReceivedRequest,
} from './provider-server.js'
import { asFields, halfCharacters, oneOf, parseFields, required, textOf, tooLong, type JsonFields } from './rules.js'
import { limitOf } from './limits.js'

export interface JsmAlert {
  readonly alias: string
  message: string
  description: string
  priority: string
  /** How often it was created while it was open. */
  count: number
  closed: boolean
  readonly notes: string[]
}

export interface JsmServer extends ProviderServer {
  /** Up to the version in the path. */
  readonly apiUrl: string
  readonly apiKey: string
  /** Oldest first; a creation after a close is a new one. */
  readonly alerts: readonly JsmAlert[]
  /** Whether requests are carried out at once or wait for {@link process}. At first: at once. */
  processing: 'at-once' | 'later'
  /** Carries out what waits, the last taken first when `backwards`: nobody promises an order. */
  process(options?: { readonly backwards?: boolean }): void
  /** Forgets what waits. */
  lose(): void
  closeByHand(alias: string): void
}

interface Task {
  readonly id: string
  /** Gives the reason when it cannot be carried out. */
  readonly work: () => string | undefined
}

/** Jira Service Management's integration events API, or with `opsgenie` the Opsgenie Alert API. */
export async function startJsm(product: 'jsm' | 'opsgenie' = 'jsm'): Promise<JsmServer> {
  const apiKey = 'eb243592-faa2-4ba2-a551-1afdf565c889'
  const root = product === 'opsgenie' ? '/v2' : '/jsm/ops/integration/v2'
  const alerts: JsmAlert[] = []
  const waiting: Task[] = []
  const outcomes = new Map<string, string | undefined>()
  let taken = 0
  const openOf = (alias: string) => alerts.find((alert) => alert.alias === alias && !alert.closed)
  const carryOut = ({ id, work }: Task) => void outcomes.set(id, work())

  const take = (work: Task['work']): ProviderAnswer => {
    taken += 1
    const id = `513085b8-caf3-4f91-aa23-${String(taken).padStart(12, '0')}`
    if (self.processing === 'at-once') carryOut({ id, work })
    else waiting.push({ id, work })
    return { status: 202, body: { result: 'Request will be processed', took: 0.1, requestId: id } }
  }
  const onOpen = (alias: string, change: (alert: JsmAlert) => void) => () => {
    const open = openOf(alias)
    if (open === undefined) return 'Alert does not exist'
    change(open)
    return undefined
  }
  const create = (fields: JsonFields) => () => {
    const alias = textOf(fields.alias, `generated-${alerts.length}`)
    const open = openOf(alias)
    if (open !== undefined) {
      open.count += 1
      return undefined
    }
    alerts.push({
      alias,
      message: String(fields.message),
      description: textOf(fields.description, ''),
      priority: textOf(fields.priority, 'P3'),
      count: 1,
      closed: false,
      notes: [],
    })
    return undefined
  }

  const act = (request: ReceivedRequest, alias: string, action: string): ProviderAnswer => {
    const fields = parseFields(request.body)
    if (fields === undefined) return refusal(400, 'Request body is not processable')
    const errors = [
      ...tooLong(`${product}.note`, fields.note),
      ...tooLong(`${product}.source`, fields.source),
      ...halfCharacters(request.body),
    ]
    const put = request.method === 'PUT' && product === 'opsgenie'
    if (request.method === 'POST' && action === 'close') {
      return errors.length > 0 ? refusal(422, errors.join('; ')) : take(onOpen(alias, (alert) => (alert.closed = true)))
    }
    if (request.method === 'POST' && action === 'notes') {
      errors.push(...required('note', fields.note))
      const add = onOpen(alias, (alert) => alert.notes.push(String(fields.note)))
      return errors.length > 0 ? refusal(422, errors.join('; ')) : take(add)
    }
    if (put && (action === 'message' || action === 'description' || action === 'priority')) {
      errors.push(...required(action, fields[action]), ...fieldProblems(product, fields))
      const value = String(fields[action])
      return errors.length > 0
        ? refusal(422, errors.join('; '))
        : take(onOpen(alias, (alert) => (alert[action] = value)))
    }
    return refusal(put ? 404 : 405, 'no such request')
  }

  const server = await startProviderServer((request) => {
    const url = new URL(request.path, 'http://localhost')
    if (!url.pathname.startsWith(`${root}/alerts`)) return refusal(404, 'no such address')
    if (request.headers.authorization !== `GenieKey ${apiKey}`) return refusal(401, 'Could not authenticate')
    const [first, second, ...more] = url.pathname
      .slice(`${root}/alerts`.length)
      .split('/')
      .slice(1)
      .map(decodeURIComponent)
    if (request.method === 'GET' && first === 'requests' && second !== undefined) {
      if (!outcomes.has(second)) return refusal(404, 'Request not found. It might not be processed, yet.')
      const failure = outcomes.get(second)
      const isSuccess = failure === undefined
      return {
        status: 200,
        body: { data: { isSuccess, success: isSuccess, status: failure ?? 'done' }, requestId: 'of-this' },
      }
    }
    if (first === undefined && request.method === 'POST') {
      const fields = parseFields(request.body)
      if (fields === undefined) return refusal(400, 'Request body is not processable')
      const errors = [
        ...required('message', fields.message),
        ...fieldProblems(product, fields),
        ...halfCharacters(request.body),
      ]
      return errors.length > 0 ? refusal(422, errors.join('; ')) : take(create(fields))
    }
    if (
      first === undefined ||
      second === undefined ||
      more.length > 0 ||
      url.searchParams.get('identifierType') !== 'alias'
    ) {
      return refusal(404, 'no such request')
    }
    return act(request, first, second)
  })

  const self: JsmServer = {
    ...server,
    apiUrl: server.url + root,
    apiKey,
    alerts,
    processing: 'at-once',
    process: ({ backwards = false } = {}) => {
      const tasks = waiting.splice(0)
      for (const task of backwards ? tasks.reverse() : tasks) carryOut(task)
    },
    lose: () => {
      waiting.length = 0
    },
    closeByHand: (alias) => {
      const open = openOf(alias)
      if (open !== undefined) open.closed = true
    },
  }
  return self
}

function refusal(status: number, message: string): ProviderAnswer {
  return { status, body: { message, took: 0.01, requestId: 'refused' } }
}

function fieldProblems(product: string, fields: JsonFields): string[] {
  const tags: unknown[] = Array.isArray(fields.tags) ? fields.tags : []
  const details = fields.details === undefined ? {} : asFields(fields.details)
  const entries = Object.entries(details ?? {})
  const size = entries.reduce((sum, [name, value]) => sum + name.length + String(value).length, 0)
  return [
    ...['message', 'alias', 'description', 'entity', 'source', 'note'].flatMap((name) =>
      tooLong(`${product}.${name}`, fields[name]),
    ),
    ...(fields.priority === undefined ? [] : oneOf('priority', fields.priority, ['P1', 'P2', 'P3', 'P4', 'P5'])),
    ...(tags.length > limitOf(`${product}.tags`) ? ['too many tags'] : []),
    ...tags.flatMap((tag) => tooLong(`${product}.tag`, tag)),
    ...(details === undefined || entries.some(([, value]) => typeof value !== 'string')
      ? ['details: texts by name']
      : []),
    ...(size > limitOf(`${product}.details`) ? ['details are too long'] : []),
  ]
}
