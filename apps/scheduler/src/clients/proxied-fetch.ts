/**
 * fetch through proxies. Node's own reads the variables of proxies only from Node 22.21 and 24 on, and only when it is told to; undici, which it is made of, does it
 * on every Node that we run on.
 */
import { EnvHttpProxyAgent, fetch } from 'undici'
import type { Fetching } from './http.js'
import type { Proxies } from './proxies.js'

export function fetchingThrough(proxies: Proxies): Fetching {
  // Plain http goes by ordinary requests: many proxies make tunnels to port 443 alone.
  const dispatcher = new EnvHttpProxyAgent({ ...proxies, proxyTunnel: false })
  const through = (url: string, options: object) => fetch(url, { ...options, dispatcher })
  // The same contract from another package; only the names of its types differ.
  return { fetch: through as unknown as Fetching['fetch'], close: () => dispatcher.destroy() }
}
