import { didYouMean } from './nearest.js'
import { showGiven, type Problem } from './problems.js'

/** Which tasks are enabled, in the order they were written. */
export interface TaskList {
  readonly builtIn: readonly string[]
  /** Packages, without the prefix `npm:`. */
  readonly thirdParty: readonly string[]
  readonly problems: readonly Problem[]
}

/** https://docs.npmjs.com/cli/configuring-npm/package-json#name, with an optional path to one of the package's exports. */
const packagePattern =
  /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-zA-Z0-9~-][a-zA-Z0-9._~-]*(?:\/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*)*$/
const longestPackageName = 214

/**
 * Reads a list of tasks such as `analyze,retention,@acme/battlescope-task-loot`. With `@`, `/` or the prefix `npm:` it is a package,
 * otherwise the name of a built-in task. Unknown names, names listed twice and an empty list are problems, not silence.
 * @param path how problems call the list.
 */
export function parseTaskList(text: string, builtInNames: readonly string[], path = 'SCHEDULER_TASKS'): TaskList {
  const builtIn: string[] = []
  const thirdParty: string[] = []
  const problems: Problem[] = []
  const names = text.split(',').map((name) => name.trim())
  for (const written of names.filter((name) => name !== '')) {
    const isPackage = /[@/]/.test(written) || written.startsWith('npm:')
    const name = written.replace(/^npm:/, '')
    const list = isPackage ? thirdParty : builtIn
    if (list.includes(name)) {
      problems.push({ path, given: showGiven(written), expected: 'each task once' })
    } else if (isPackage ? isPackageName(name) : builtInNames.includes(name)) {
      list.push(name)
    } else if (isPackage) {
      const hint = /.@/.test(name)
        ? 'leave out the version: it is chosen when the package is installed'
        : 'such as @acme/battlescope-task-loot or npm:battlescope-task-loot'
      problems.push({ path, given: showGiven(written), expected: 'the name of an npm package', hint })
    } else {
      const known =
        builtInNames.length === 0 ? 'there are no built-in tasks' : `built-in tasks: ${builtInNames.join(', ')}`
      const near = didYouMean(name, builtInNames)
      const asPackage = `a package without a scope is written 'npm:${name}'`
      const hint = near === undefined ? (isPackageName(name) ? `${known}; ${asPackage}` : known) : near
      problems.push({ path, given: showGiven(written), expected: 'the name of a built-in task', hint })
    }
  }
  if (builtIn.length + thirdParty.length + problems.length === 0) {
    problems.push({
      path,
      given: showGiven(text),
      expected: 'at least one task',
      hint: `such as ${builtInNames[0] ?? 'npm:my-task'}`,
    })
  }
  return { builtIn, thirdParty, problems }
}

function isPackageName(name: string): boolean {
  return name.length <= longestPackageName && packagePattern.test(name)
}
