import { didYouMean } from './nearest.js'
import { environmentPrefix, type DerivedOptions } from './options.js'
import { showName, type Problem } from './problems.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** Manifests and shells set variables to the empty text to unset them. */
export function given(environment: Environment, name: string): string | undefined {
  const text = Object.hasOwn(environment, name) ? environment[name] : undefined
  return text === '' ? undefined : text
}

/**
 * Variables with our prefix that no option claims. With `allowUnknown`, those that may belong to a task that is not loaded yet are
 * returned apart.
 */
export function unknownVariables(derived: DerivedOptions, environment: Environment, allowUnknown: boolean) {
  const problems: Problem[] = []
  const unclaimed: string[] = []
  const known = new Set(
    derived.options.flatMap((option) => [option.environment, option.environmentFile ?? option.environment]),
  )
  const prefixes = [...derived.groups.keys()].map(
    (name) => `${environmentPrefix}${name.replaceAll('-', '_').toUpperCase()}_`,
  )
  for (const name of Object.keys(environment).sort()) {
    if (!name.startsWith(environmentPrefix) || known.has(name) || given(environment, name) === undefined) continue
    if (isKubernetesServiceVariable(name)) continue
    const isFileOfPlainOption = name.endsWith('_FILE') && known.has(name.slice(0, -'_FILE'.length))
    const near = didYouMean(name, known)
    if (allowUnknown && !isFileOfPlainOption && mayBelongToLaterTask(name, prefixes, near !== undefined)) {
      unclaimed.push(name)
      continue
    }
    const hint = isFileOfPlainOption ? 'only secrets have a variable that names a file' : near
    problems.push({
      path: showName(name),
      expected: 'a variable of an option',
      ...(hint === undefined ? {} : { hint }),
    })
  }
  return { problems, unclaimed }
}

/**
 * A task that is not loaded yet has at least one word for its name and one for the option. Its name may begin with the name of a
 * known section (`cache-warmer` beside `cache`): there only what looks like a slip of a known name is certainly none of its own.
 */
function mayBelongToLaterTask(name: string, prefixes: readonly string[], isNearKnown: boolean): boolean {
  const prefix = prefixes.filter((each) => name.startsWith(each)).sort((a, b) => b.length - a.length)[0]
  const rest = name.slice((prefix ?? environmentPrefix).length)
  return /^[A-Z0-9]+_/.test(rest) && !(prefix !== undefined && isNearKnown)
}

/**
 * True for the variables that Kubernetes sets in every pod for every service of its namespace, where a service is called
 * `scheduler` or `scheduler-…`. https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
export function isKubernetesServiceVariable(name: string): boolean {
  return /^[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/.test(
    name,
  )
}
