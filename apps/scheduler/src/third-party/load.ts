/** A package's name becomes the tasks that it exports, or the reason why not. */
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { formatDuration, messageOf, taskProblems, type AnyTask, type DisabledTask } from '@battlescope/scheduler-core'
import { resolve as resolveModule } from 'import-meta-resolve'

export interface LoadOptions {
  /** The folder whose `node_modules` is searched, and then those above it. */
  readonly from: string
  importModule(url: string): Promise<unknown>
  /** Names that are taken: of built-in tasks, and of packages that were loaded before. Name → whose it is. */
  readonly takenNames: ReadonlyMap<string, string>
  /** Milliseconds until an import that awaits for ever is given up. */
  readonly importTimeoutMs: number
}

export interface LoadedPackage {
  readonly tasks: readonly AnyTask[]
  readonly disabled: readonly DisabledTask[]
  /** Where the package's code lies; undefined when it was not found. */
  readonly folder: string | undefined
}

export async function loadPackage(specifier: string, options: LoadOptions): Promise<LoadedPackage> {
  const refuse = (reason: string, hint: string, folder?: string): LoadedPackage => ({
    tasks: [],
    disabled: [{ name: specifier, reason, hint }],
    folder,
  })
  const found = findModule(specifier, options.from)
  if ('problem' in found) return refuse(found.problem, found.hint)
  const folder = packageFolder(found.url)
  let exported: unknown
  try {
    exported = await withTimeout(options.importModule(found.url), options.importTimeoutMs)
  } catch (error) {
    return refuse(`its import failed: ${messageOf(error)}`, `tell the author of ${specifier}`, folder)
  }
  const candidates = candidatesOf(exported)
  if (candidates.length === 0)
    return refuse('exports no task', 'its default export must be a task or an array of tasks', folder)
  const tasks: AnyTask[] = []
  const disabled: DisabledTask[] = []
  const names = new Map(options.takenNames)
  for (const candidate of candidates) {
    const problem = problemOf(candidate, names)
    if (problem === undefined) {
      const task = candidate as AnyTask
      tasks.push(task)
      names.set(task.name, specifier)
    } else {
      disabled.push({ name: specifier, ...problem })
    }
  }
  return { tasks, disabled, folder }
}

type Found = { readonly url: string } | { readonly problem: string; readonly hint: string }

/** As Node's own `import` would resolve it there: with the conditions `node` and `import`. */
function findModule(specifier: string, from: string): Found {
  try {
    return { url: resolveModule(specifier, pathToFileURL(join(from, 'index.js')).href) }
  } catch (error) {
    const code = (error as { code?: string }).code
    return code === 'ERR_MODULE_NOT_FOUND'
      ? { problem: `is not installed in ${from}`, hint: `npm install --prefix ${from} ${specifier}` }
      : {
          problem: messageOf(error),
          hint: `its package.json exports no module for import; tell the author of ${specifier}`,
        }
  }
}

/** Up to and with the last `node_modules/name`, as the file is known to the stack of an error. */
function packageFolder(url: string): string {
  const path = fileURLToPath(url)
  const real = (() => {
    try {
      return realpathSync(path)
    } catch {
      return path
    }
  })()
  return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+\//.exec(real)?.[0] ?? real
}

function candidatesOf(exported: unknown): readonly unknown[] {
  const first = (exported as { default?: unknown } | null | undefined)?.default
  // CommonJS that was made from ESM: import() gives its module.exports as the default export.
  const isWrapped = typeof first === 'object' && first !== null && '__esModule' in first && 'default' in first
  const value = isWrapped ? (first as { default: unknown }).default : first
  if (value === undefined) return []
  return Array.isArray(value) ? (value as unknown[]) : [value]
}

function problemOf(
  candidate: unknown,
  names: ReadonlyMap<string, string>,
): { readonly reason: string; readonly hint: string } | undefined {
  let problems: readonly string[]
  try {
    problems = taskProblems(candidate)
  } catch (error) {
    problems = [`looking at it throws: ${messageOf(error)}`]
  }
  if (problems.length > 0)
    return { reason: problems.join('; '), hint: 'install a version of the package that fits this scheduler' }
  const { name } = candidate as AnyTask
  const owner = names.get(name)
  if (owner === undefined) return undefined
  return {
    reason: `its task '${name}' has the name of a task of ${owner}`,
    hint: 'the author must choose another name',
  }
}

function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`did not come back within ${formatDuration(ms)}`))
    }, ms)
  })
  return Promise.race([promise, late]).finally(() => {
    clearTimeout(timer)
  })
}
