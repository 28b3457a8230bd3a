/** What a health endpoint's answer means. Pure. */

export type Verdict = 'healthy' | 'degraded' | 'unhealthy'

export interface HealthAnswer {
  readonly verdict: Verdict
  /** Parts that the service itself says are failing. */
  readonly failing: readonly string[]
}

const good = ['ok', 'up', 'pass', 'passed', 'healthy', 'connected', 'ready', 'server available', 'true']

/**
 * By status first; a body of JSON adds which parts fail, and may make a 200 worse (Typesense answers `{"ok": false}`). A 503 that says
 * `degraded` is a service that works without one of its parts, which may be an outside one.
 */
export function readHealthAnswer(status: number, body: string): HealthAnswer {
  const said = parse(body)
  const failing = failingParts(said.checks)
  const isDegraded = said.status === 'degraded'
  if (status === 503 && isDegraded) return { verdict: 'degraded', failing }
  if (status < 200 || status > 299) return { verdict: 'unhealthy', failing }
  if (isDegraded || failing.length > 0) return { verdict: 'degraded', failing }
  return { verdict: isGood(said.ok ?? said.status) ? 'healthy' : 'unhealthy', failing }
}

function parse(body: string): Readonly<Record<string, unknown>> {
  try {
    const value = JSON.parse(body) as unknown
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    // Text such as "OK", or nothing at all: the status has said it.
    return {}
  }
}

/** `{ database: true }`, `{ database: 'ok' }`, `{ database: { status: 'up' } }`, or a list of objects with a name. */
function failingParts(checks: unknown): readonly string[] {
  if (typeof checks !== 'object' || checks === null) return []
  return Object.entries(checks)
    .filter(([, value]) => !isGood(stateOf(value)))
    .map(([key, value]) => nameOf(value) ?? key)
    .map((name) => name.slice(0, 60))
    .slice(0, 10)
}

function stateOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { status, state, ok, healthy } = value as Record<string, unknown>
  return status ?? state ?? ok ?? healthy
}

function nameOf(value: unknown): string | undefined {
  const { name } = (typeof value === 'object' && value !== null ? value : {}) as { name?: unknown }
  return typeof name === 'string' ? name : undefined
}

/** Absent is no complaint. */
function isGood(state: unknown): boolean {
  if (state === undefined || state === null) return true
  if (typeof state === 'boolean') return state
  return typeof state !== 'string' || good.includes(state.toLowerCase())
}
