import { startProviderServer, type ProviderServer } from './provider-server.js'
import { asFields, halfCharacters, textOf, type JsonFields } from './rules.js'

export interface AlertmanagerAlert {
  /** Labels as sorted JSON: what an alert is recognized by. */
  readonly identity: string
  readonly labels: Readonly<Record<string, string>>
  annotations: Readonly<Record<string, string>>
  startsAt: Date
  endsAt: Date
}

export interface AlertmanagerServer extends ProviderServer {
  readonly alerts: readonly AlertmanagerAlert[]
  /** What fires at an instant: what has not ended by then. */
  firingAt(instant: Date): readonly AlertmanagerAlert[]
}

interface Options {
  /** The value of `Authorization` that is asked for; without it none is. */
  readonly authorization?: string
  /** The receiver's clock, for alerts without an end. */
  readonly now: () => Date
}

/** Its default: https://prometheus.io/docs/alerting/latest/configuration/ */
const resolveTimeoutMs = 5 * 60_000

export async function startAlertmanager({ authorization, now }: Options): Promise<AlertmanagerServer> {
  const alerts: AlertmanagerAlert[] = []
  const server = await startProviderServer((request) => {
    if (request.method !== 'POST' || request.path !== '/api/v2/alerts') return { status: 404, body: 'not found' }
    if (authorization !== undefined && request.headers.authorization !== authorization)
      return { status: 401, body: 'Unauthorized' }
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
      return { status: 415, body: { message: 'unsupported media type' } }
    const posted = parseList(request.body)
    const errors =
      posted === undefined
        ? ['the body is no list of alerts']
        : [...posted.flatMap(problems), ...halfCharacters(request.body)]
    if (posted === undefined || errors.length > 0) return { status: 400, body: errors.join('; ') }
    for (const fields of posted) merge(alerts, fields, now())
    return { status: 200 }
  })
  return { ...server, alerts, firingAt: (instant) => alerts.filter(({ endsAt }) => endsAt > instant) }
}

function merge(alerts: AlertmanagerAlert[], fields: JsonFields, now: Date): void {
  const labels = fields.labels as Record<string, string>
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  const identity = JSON.stringify(sorted.filter(([, value]) => value !== ''))
  const posted = {
    identity,
    labels,
    annotations: (fields.annotations ?? {}) as Record<string, string>,
    startsAt: new Date(textOf(fields.startsAt, now.toISOString())),
    endsAt: new Date(textOf(fields.endsAt, new Date(now.getTime() + resolveTimeoutMs).toISOString())),
  }
  const known = alerts.find((alert) => alert.identity === identity)
  if (known === undefined) alerts.push(posted)
  else Object.assign(known, posted)
}

function parseList(body: string): JsonFields[] | undefined {
  try {
    const value: unknown = JSON.parse(body)
    if (!Array.isArray(value)) return undefined
    const all = value.map(asFields)
    return all.every((each) => each !== undefined) ? all : undefined
  } catch {
    return undefined
  }
}

function problems(fields: JsonFields): string[] {
  const labels = asFields(fields.labels)
  const texts = [labels ?? {}, asFields(fields.annotations) ?? {}].flatMap((group) => Object.entries(group))
  const instants = ['startsAt', 'endsAt'].map((name) => fields[name]).filter((value) => value !== undefined)
  const wrongTimes = instants.some(
    (value) => typeof value !== 'string' || !rfc3339.test(value) || Number.isNaN(Date.parse(value)),
  )
  const isBackwards = instants.length === 2 && Date.parse(String(fields.endsAt)) < Date.parse(String(fields.startsAt))
  return [
    ...(typeof labels?.alertname === 'string' && labels.alertname !== '' ? [] : ['alertname is required']),
    ...(texts.every(([name, value]) => /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && typeof value === 'string')
      ? []
      : ['invalid label set']),
    ...(wrongTimes ? ['times are RFC 3339'] : []),
    ...(isBackwards ? ['start time must be before end time'] : []),
  ]
}

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/
