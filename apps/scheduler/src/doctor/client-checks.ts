/** Whether each kind of client that an enabled task uses is configured. */
import type { RegisteredTask } from '@battlescope/scheduler-core'
import { clientFactories, howToConfigure } from '../clients/client-factories.js'
import type { Configuration } from '../configuration/load.js'
import type { Check } from './check.js'

/** Nothing is opened: the environment does not matter. */
export function clientChecks(tasks: readonly RegisteredTask[], configuration: Configuration): readonly Check[] {
  const factories = clientFactories(configuration, { environment: {} })
  const kinds = [...new Set(tasks.flatMap(({ requires }) => requires.clients ?? []))]
  if (kinds.length === 0)
    return [{ check: 'clients', result: 'ok', detail: 'no enabled task uses Redis, a store or an endpoint' }]
  return kinds.map((kind) => {
    const check = `client ${kind}`
    const users = tasks.filter(({ requires }) => requires.clients?.includes(kind)).map(({ name }) => name)
    if (factories[kind] !== undefined) return { check, result: 'ok', detail: `configured, for ${users.join(', ')}` }
    return {
      check,
      // Some tasks can do without; the others say so when they run.
      result: 'warn',
      detail: `not configured, although ${users.join(', ')} use${users.length === 1 ? 's' : ''} it`,
      mend: howToConfigure[kind] ?? 'this program has no such client: ask the author of the task',
    }
  })
}
