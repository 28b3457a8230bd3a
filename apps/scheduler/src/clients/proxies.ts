/** Proxies by the variables that curl and most other programs know. */
import type { Environment, Host } from '../host.js'

export interface Proxies {
  readonly httpProxy?: string
  readonly httpsProxy?: string
  readonly noProxy?: string
}

/** Undefined when no proxy is set. Lower case wins, as with curl; https goes by HTTP_PROXY when HTTPS_PROXY is not set, as in Node itself. */
export function proxiesOf(environment: Environment): Proxies | undefined {
  const given = (name: string) =>
    [environment[name.toLowerCase()], environment[name]].find((text) => text?.trim())?.trim()
  const httpProxy = given('HTTP_PROXY')
  const httpsProxy = given('HTTPS_PROXY') ?? httpProxy
  if (httpProxy === undefined && httpsProxy === undefined) return undefined
  return {
    ...(httpProxy === undefined ? {} : { httpProxy }),
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    noProxy: given('NO_PROXY') ?? '',
  }
}

/** Passwords of proxies, as written and decoded: what no log may show. */
function proxySecrets({ httpProxy, httpsProxy }: Proxies): string[] {
  return [httpProxy, httpsProxy].flatMap((url) => {
    if (url === undefined || !URL.canParse(url)) return []
    const { password } = new URL(url)
    return password === '' ? [] : [password, safelyDecoded(password)]
  })
}

/** What the environment says; from here on the host's scrubber knows the passwords. */
export function proxiesFor(host: Pick<Host, 'environment' | 'secrets'>): Proxies | undefined {
  const proxies = proxiesOf(host.environment)
  if (proxies !== undefined) host.secrets.add(proxySecrets(proxies))
  return proxies
}

function safelyDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
