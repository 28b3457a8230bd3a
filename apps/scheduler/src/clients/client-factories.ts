/** Which kinds of clients tasks can have under a configuration: the one place, for runs and for `doctor`. */
import type { ClientFactories, ClientKind } from '@battlescope/scheduler-core'
import type { Configuration } from '../configuration/load.js'
import { httpClientFactory } from './http.js'

/** A kind that is absent is not configured: tasks that can do without it ask first, the others fail with `client-unavailable`. */
export function clientFactories(_configuration: Configuration): ClientFactories {
  return { http: httpClientFactory }
}

/** What configures a kind of client. A kind that is brought by a third-party package is not in it. */
export const howToConfigure: Readonly<Partial<Record<ClientKind | (string & {}), string>>> = {}
