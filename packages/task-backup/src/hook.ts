/** The driver `http`: a service takes the backup. It is asked with the backup's name as idempotency key, and later how it went. */
import type { HttpResponse } from '@battlescope/scheduler-core'
import { z } from 'zod'
import {
  answerOf,
  NotSeen,
  NotStarted,
  requestTimeoutMs,
  type BackupContext,
  type Sighting,
  type TriggerDriver,
} from './driver.js'
import type { BackupRecord } from './tables.js'

/** Many libraries write null for what they do not know. */
const maybe = <Schema extends z.ZodType>(schema: Schema) => schema.nullish().transform((value) => value ?? undefined)
const instant = maybe(z.iso.datetime({ offset: true }).transform((text) => new Date(text)))
/** Cut, not refused: how a backup ended must not get lost over the length of a log. */
const text = (most: number) => maybe(z.string().transform((said) => said.slice(0, most)))

/** What the service may say, in its answer to POST and to GET. Whatever else it says is left alone. */
const answerSchema = z.object({
  state: maybe(z.enum(['running', 'succeeded', 'failed', 'not-found'])),
  startedAt: instant,
  finishedAt: instant,
  sizeBytes: maybe(z.number().int().min(0)),
  checksum: text(200),
  location: text(1000),
  message: text(2000),
})

const service = 'the backup service'

export const hookDriver: TriggerDriver = {
  // Without its query, where keys travel.
  target: ({ config }) => {
    const { origin, pathname } = new URL(config.url ?? '')
    return `${origin}${pathname}`
  },

  async start(context, backup) {
    let sighting: Sighting | undefined
    const action = { kind: 'trigger-backup', target: hookDriver.target(context), reason: backup.name } as const
    await context.act({ ...action, via: 'http' }, async (client) => {
      const request = { ...requestOf(context, context.config.url ?? ''), body: payloadOf(context, backup) }
      const answer = await answerOf(context, NotStarted, service, () =>
        client.post({ ...request, headers: { ...request.headers, 'idempotency-key': backup.name } }),
      )
      const { status } = answer
      if (status < 200 || status > 299) throw refused(NotStarted, answer)
      sighting = sightingOf(answer.body, NotStarted)
      // Nobody will ever say: that is no success.
      if (sighting.state === 'running' && context.config.statusUrl === undefined)
        sighting = { ...sighting, state: 'unconfirmed' }
      return { details: { name: backup.name, status, state: sighting.state } }
    })
    return sighting
  },

  async look(context, backup) {
    const { statusUrl } = context.config
    if (statusUrl === undefined) return { state: 'unconfirmed' }
    const client = await context.client('http')
    const url = statusUrl.replaceAll('{name}', encodeURIComponent(backup.name))
    const answer = await answerOf(context, NotSeen, service, () => client.get(requestOf(context, url)))
    if (answer.status === 404 || answer.status === 410) {
      return { state: 'vanished', message: `the service answered ${answer.status} for ${backup.name}` }
    }
    if (answer.status < 200 || answer.status > 299) throw refused(NotSeen, answer)
    return sightingOf(answer.body, NotSeen)
  },
}

function payloadOf({ slot, traceparent }: BackupContext, { name, slotId, attempt }: BackupRecord): string {
  return JSON.stringify({ version: 1, name, slotId, attempt, scheduledAt: slot.scheduledAt.toISOString(), traceparent })
}

function requestOf(context: BackupContext, url: string) {
  const { config, signal, traceparent } = context
  return {
    url,
    headers: {
      accept: 'application/json',
      'content-type': 'application/json',
      ...(config.token === undefined ? {} : { authorization: `Bearer ${config.token}` }),
      ...(traceparent === undefined ? {} : { traceparent }),
    },
    timeoutMs: requestTimeoutMs(context),
    signal,
  }
}

/** An empty answer, or one that is no JSON object, says only that it was taken. @throws when what it says of a backup cannot be understood */
function sightingOf(body: string, Raised: typeof NotStarted | typeof NotSeen): Sighting {
  let raw: unknown
  try {
    raw = JSON.parse(body)
  } catch {
    return { state: 'running' }
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return { state: 'running' }
  const read = answerSchema.safeParse(raw)
  if (!read.success) {
    const [issue] = read.error.issues
    throw new Raised(
      'answer-unfit',
      `the service answered with a wrong ${issue?.path.join('.') ?? 'form'}: ${issue?.message ?? ''}`,
    )
  }
  const { state = 'running', ...rest } = read.data
  const known = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  return { ...known, state: state === 'not-found' ? 'vanished' : state }
}

function refused(Raised: typeof NotStarted | typeof NotSeen, { status }: HttpResponse): Error {
  const hint =
    status === 401 || status === 403
      ? 'see backup.token'
      : status >= 300 && status < 400
        ? 'redirects are not followed, the token would go along'
        : undefined
  return new Raised(`http-${status}`, `the backup service answered ${status}`, hint)
}
