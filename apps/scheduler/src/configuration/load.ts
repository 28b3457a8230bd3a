/** Reads the raw configuration once (environment, file, mounted secrets, flags) and hands it to the config stage. */
import { readFileSync } from 'node:fs'
import {
  ConfigurationError,
  parseTaskList,
  registerTask,
  resolveConfiguration,
  secretFilesToRead,
  taskSection,
  type AnyTask,
  type ConfigurationInput,
  type DisabledTask,
  type Problem,
  type RegisteredTask,
  type Registry,
  type ResolvedConfiguration,
  type Section,
} from '@battlescope/scheduler-core'
import { builtInTasks } from '../built-in-tasks.js'
import type { Environment } from '../host.js'
import { programSection, type ProgramOptions } from './program-options.js'

export interface Configuration {
  readonly program: ProgramOptions
  readonly resolved: ResolvedConfiguration
  /** Enabled built-in tasks. */
  readonly builtIn: Registry
  /** Enabled packages. */
  readonly thirdParty: readonly string[]
  /** The options of third-party tasks, once they are loaded. A task whose options are wrong is disabled. */
  registerThirdParty(loaded: readonly LoadedTask[]): Registry
  /** Options that belong to no task, held against everything that was loaded. */
  unclaimedOptions(loaded: readonly LoadedTask[]): readonly DisabledTask[]
  /** Every option, those of loaded third-party tasks included. */
  optionsWith(tasks: readonly AnyTask[]): ResolvedConfiguration['options']
}

export interface LoadedTask {
  readonly specifier: string
  readonly task: AnyTask
}

type Raw = Omit<ConfigurationInput, 'sections'>

/** @throws ConfigurationError with every problem at once. */
export async function loadConfiguration(
  environment: Environment,
  flags: Readonly<Record<string, string>> = {},
): Promise<Configuration> {
  // Options of every built-in task are known names, whether the task is enabled or not.
  const sections: readonly Section[] = [programSection, ...builtInTasks.map(taskSection)]
  const raw = await readRaw(environment, flags, sections)
  const resolved = resolve(raw, sections)
  const program = resolved.program as ProgramOptions
  const list = taskList(resolved)
  const problems = [...resolved.problems, ...list.problems]
  if (problems.length > 0) throw new ConfigurationError(problems)
  const enabled = builtInTasks.filter(({ name }) => list.builtIn.includes(name))
  return {
    program,
    resolved,
    builtIn: { tasks: enabled.map((task) => register(task, { kind: 'built-in' }, resolved)), disabled: [] },
    thirdParty: list.thirdParty,
    registerThirdParty: (loaded) => registerThirdParty(raw, sections, loaded),
    unclaimedOptions: (loaded) => unclaimedOptions(raw, sections, loaded),
    optionsWith: (tasks) =>
      resolveConfiguration({ ...raw, sections: [...sections, ...tasks.map(taskSection)], allowUnknown: true }).options,
  }
}

/** Names that may belong to a third-party task are no problem before it is loaded. */
function resolve(raw: Raw, sections: readonly Section[]): ResolvedConfiguration {
  const lenient = resolveConfiguration({ ...raw, sections, allowUnknown: true })
  return taskList(lenient).thirdParty.length > 0 ? lenient : resolveConfiguration({ ...raw, sections })
}

function taskList({ program }: ResolvedConfiguration) {
  const { tasks = [] } = program as Partial<ProgramOptions>
  // Without the option there is a problem of its own already.
  if (program['tasks'] === undefined) return { builtIn: [], thirdParty: [], problems: [] }
  return parseTaskList(
    tasks.join(','),
    builtInTasks.map(({ name }) => name),
  )
}

function registerThirdParty(raw: Raw, sections: readonly Section[], loaded: readonly LoadedTask[]): Registry {
  const tasks: RegisteredTask[] = []
  const disabled: DisabledTask[] = []
  for (const { specifier, task } of loaded) {
    const own = [...sections, taskSection(task)]
    const resolved = resolveConfiguration({ ...raw, sections: own, allowUnknown: true })
    if (resolved.problems.length > 0) {
      disabled.push({
        name: task.name,
        reason: new ConfigurationError(resolved.problems).message,
        hint: `correct the options of ${specifier}`,
      })
      continue
    }
    try {
      tasks.push(register(task, { kind: 'package', specifier }, resolved))
    } catch (error) {
      disabled.push({
        name: task.name,
        reason: `its requires() throws: ${(error as Error).message}`,
        hint: `tell the author of ${specifier}`,
      })
    }
  }
  return { tasks, disabled }
}

/** An option that a typing error gave to nobody. Problems inside the sections of loaded tasks are told with them. */
function unclaimedOptions(
  raw: Raw,
  sections: readonly Section[],
  loaded: readonly LoadedTask[],
): readonly DisabledTask[] {
  const all = [...sections, ...loaded.map(({ task }) => taskSection(task))]
  const strict = resolveConfiguration({ ...raw, sections: all }).problems
  const known = new Set(
    resolveConfiguration({ ...raw, sections: all, allowUnknown: true }).problems.map(({ path }) => path),
  )
  const unknown = strict.filter(({ path }) => !known.has(path))
  return unknown.length === 0
    ? []
    : [{ name: 'configuration', reason: new ConfigurationError(unknown).message, hint: 'correct or remove them' }]
}

function register(task: AnyTask, origin: RegisteredTask['origin'], resolved: ResolvedConfiguration): RegisteredTask {
  return registerTask(task, origin, { config: resolved.sections[task.name] ?? {}, ...resolved.taskOptions[task.name] })
}

async function readRaw(
  environment: Environment,
  flags: Readonly<Record<string, string>>,
  sections: readonly Section[],
): Promise<Raw> {
  const secretFiles = new Map(
    secretFilesToRead(sections, environment).map(({ path }) => [path, readText(path)] as const),
  )
  const fileName = flags['config'] ?? environment['SCHEDULER_CONFIG']
  const file = fileName === undefined || fileName === '' ? {} : await readFile(fileName)
  return { environment, flags, secretFiles, ...file }
}

function readText(path: string): { readonly content: string } | { readonly error: string } {
  try {
    return { content: readFileSync(path, 'utf8') }
  } catch (error) {
    return { error: (error as Error).message }
  }
}

/** YAML, of which JSON is a part. */
async function readFile(fileName: string): Promise<Pick<Raw, 'file' | 'fileName' | 'lineOf'>> {
  const path = 'SCHEDULER_CONFIG'
  const text = readText(fileName)
  if ('error' in text)
    throw new ConfigurationError([problem({ path, given: fileName, expected: 'a readable file', hint: text.error })])
  const { readYaml } = await import('./yaml-file.js')
  const { errors, content, lineOf } = readYaml(text.content)
  if (errors.length > 0) {
    throw new ConfigurationError(
      errors
        .slice(0, 10)
        .map(({ line, message }) =>
          problem({ path, location: `${fileName}:${line}`, expected: 'YAML or JSON', hint: message }),
        ),
    )
  }
  return { file: content, fileName, lineOf }
}

function problem(parts: Problem): Problem {
  return parts
}
