/** The configured namespaces as the walk needs them. Pure. */
import type { KeyFact, RedisName } from '@battlescope/redis'
import type { NamespaceConfig } from './config.js'

export interface KeepJobs {
  readonly ageMs: number | undefined
  readonly count: number | undefined
}

interface Common {
  /** How audit trail, metrics and findings name it. */
  readonly pattern: string
  readonly on: readonly RedisName[]
  readonly ttlMs: number | undefined
}

export type Namespace = Common &
  (
    | {
        readonly policy: 'cache'
        readonly maxAge: { readonly ms: number; readonly field: string } | undefined
        readonly maxIdleMs: number | undefined
      }
    | { readonly policy: 'session'; readonly field: string }
    | { readonly policy: 'pointer'; readonly target: string }
    | {
        readonly policy: 'bullmq'
        readonly queue: string
        /** What all keys of the queue begin with. */
        readonly keyPrefix: string
        readonly completed: KeepJobs | undefined
        readonly failed: KeepJobs | undefined
      }
  )

export type QueueNamespace = Extract<Namespace, { policy: 'bullmq' }>

export function namespaceOf(config: NamespaceConfig): Namespace {
  const common: Common = { pattern: config.pattern ?? '', on: config.on, ttlMs: config.ttl }
  switch (config.policy) {
    case 'cache': {
      const { maxAge: ms, timeField: field, maxIdle: maxIdleMs } = config
      return {
        ...common,
        policy: 'cache',
        maxIdleMs,
        maxAge: ms === undefined || field === undefined ? undefined : { ms, field },
      }
    }
    case 'session':
      return { ...common, policy: 'session', field: config.timeField ?? 'expiresAt' }
    case 'pointer':
      return { ...common, policy: 'pointer', target: config.target ?? '{value}' }
    case 'bullmq': {
      const keyPrefix = `${config.prefix ?? 'bull'}:${config.queue ?? ''}:`
      const keep = (jobs: NamespaceConfig['completed']) => jobs && { ageMs: jobs.age, count: jobs.count }
      return {
        ...common,
        policy: 'bullmq',
        pattern: `${keyPrefix}*`,
        queue: config.queue ?? '',
        keyPrefix,
        completed: keep(config.completed),
        failed: keep(config.failed),
      }
    }
  }
}

/** Finds the namespace of a key: the first that fits. Undefined: the key is none of ours. */
export function matcherOf(namespaces: readonly Namespace[]): (key: string) => Namespace | undefined {
  const tests = namespaces.map((namespace) => ({ namespace, fits: patternTest(namespace.pattern) }))
  return (key) => tests.find(({ fits }) => fits(key))?.namespace
}

function patternTest(pattern: string): (key: string) => boolean {
  const prefix = pattern.slice(0, -1)
  if (pattern.endsWith('*') && !/[*?]/.test(prefix)) return (key) => key.startsWith(prefix)
  const source = pattern
    .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  const expression = new RegExp(`^${source}$`, 's')
  return (key) => expression.test(key)
}

/** What must be known of a key before it can be judged, beside its value. */
export function factsFor(namespace: Namespace): readonly KeyFact[] {
  return namespace.policy === 'cache' && namespace.maxIdleMs !== undefined
    ? ['idle', 'ttl', 'memory']
    : ['ttl', 'memory']
}

export function needsValue(namespace: Namespace): boolean {
  switch (namespace.policy) {
    case 'session':
    case 'pointer':
      return true
    case 'cache':
      return namespace.maxAge !== undefined
    case 'bullmq':
      return false
  }
}

/** The key that a pointer points to. */
export function targetOf({ target }: { readonly target: string }, value: string): string {
  return target.split('{value}').join(value)
}

/** How the audit trail names it. */
export function labelOf(redis: RedisName, { pattern }: Pick<Namespace, 'pattern'>): string {
  return `${redis} ${pattern}`
}
