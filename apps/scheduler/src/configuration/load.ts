/** Reads the raw configuration once (environment, file, mounted secrets, flags) and hands it to the config stage. */
import { readFileSync } from 'node:fs'
import {
  ConfigurationError,
  parseTaskList,
  registerTask,
  resolveConfiguration,
  secretFilesToRead,
  type AnyTask,
  type ConfigurationInput,
  type DisabledTask,
  type Problem,
  type RegisteredTask,
  type Registry,
  type ResolvedConfiguration,
  type Section,
  type TaskList,
} from '@battlescope/scheduler-core'
import { builtInTaskNames, loadBuiltInTasks } from '../built-in-tasks.js'
import type { Host } from '../host.js'
import { tasksAlone, type ProgramOptions } from './program-options.js'
import {
  loadProgramSections,
  sectionsGiven,
  sectionsWith,
  type NamedSectionName,
  type NamedSectionOptions,
} from './sections.js'

export interface Configuration {
  readonly program: ProgramOptions
  readonly resolved: ResolvedConfiguration
  /** The options of a section that is no task's; undefined where nothing of it is given and only enabled options were wanted. */
  section<Name extends NamedSectionName>(name: Name): NamedSectionOptions<Name> | undefined
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

/** What was read and checked, right or wrong. */
export interface ReadConfiguration {
  readonly resolved: ResolvedConfiguration
  /** Enabled tasks, as far as their list could be read. */
  readonly taskList: TaskList | undefined
  readonly problems: readonly Problem[]
  /** @throws ConfigurationError with every problem at once. */
  accept(): Configuration
}

export type Flags = Readonly<Record<string, string>>

export interface Needs {
  /** Whether a missing DATABASE_URL is a problem. Default: true. */
  readonly database?: boolean
  /** Whose options are known; for `enabled` a run that is configured well reads those of enabled tasks, and of sections of which something is given. Default: all. */
  readonly options?: 'all' | 'enabled'
}

type Raw = Omit<ConfigurationInput, 'sections'>
/** What was given, and the tasks it was held against. */
interface Read {
  readonly raw: Raw
  /** The program's, and those that are named. */
  readonly programSections: readonly Section[]
  readonly tasks: readonly AnyTask[]
  readonly resolved: ResolvedConfiguration
}
type ConfigurationHost = Pick<Host, 'environment' | 'secrets'>

/** @throws ConfigurationError with every problem at once. */
export async function loadConfiguration(
  host: ConfigurationHost,
  flags: Flags = {},
  needs: Needs = {},
): Promise<Configuration> {
  return (await readConfiguration(host, flags, needs)).accept()
}

/** Never throws for what a user can write. From here on the host's scrubber knows every secret. */
export async function readConfiguration(
  host: ConfigurationHost,
  flags: Flags = {},
  needs: Needs = {},
): Promise<ReadConfiguration> {
  const { environment } = host
  const fileName = flags['config'] ?? environment['SCHEDULER_CONFIG']
  const { problems: unreadable = [], ...file } =
    fileName === undefined || fileName === '' ? {} : await readFile(fileName)
  const given = { environment, flags, ...file }
  const list = taskList(given)
  const read = await resolve(given, list, needs.options === 'enabled')
  const { resolved } = read
  resolved.tellSecrets(host.secrets)
  // A file that cannot be read may hold the URL.
  const needsUrl = needs.database !== false && unreadable.length === 0
  const problems = [
    ...(needsUrl ? missingDatabaseUrl(resolved) : []),
    ...unreadable,
    ...resolved.problems,
    ...(list?.problems ?? []),
  ]
  return {
    resolved,
    taskList: list,
    problems,
    accept: () => {
      if (problems.length > 0 || list === undefined) throw new ConfigurationError(problems)
      return accepted(host, read, list)
    },
  }
}

function accepted(host: ConfigurationHost, read: Read, list: TaskList): Configuration {
  const { raw, programSections, tasks, resolved } = read
  const enabled = tasks.filter(({ name }) => list.builtIn.includes(name))
  return {
    program: resolved.program as ProgramOptions,
    resolved,
    section: (name) => resolved.sections[name] as NamedSectionOptions<typeof name> | undefined,
    builtIn: { tasks: enabled.map((task) => register(task, { kind: 'built-in' }, resolved)), disabled: [] },
    thirdParty: list.thirdParty,
    registerThirdParty: (loaded) => registerThirdParty(host, read, loaded),
    unclaimedOptions: (loaded) => unclaimedOptions(read, loaded),
    optionsWith: (more) =>
      resolveConfiguration({ ...raw, sections: sectionsWith(programSections, [...tasks, ...more]), allowUnknown: true })
        .options,
  }
}

/**
 * Each run pays for this: the options of enabled tasks, and of sections of which something is given, are resolved once. Where something is wrong, or packages may own what nobody here
 * knows, every option has to be known, to tell what is wrong and what was meant.
 */
async function resolve(
  given: Omit<Raw, 'secretFiles'>,
  list: TaskList | undefined,
  enabledSuffice: boolean,
): Promise<Read> {
  // Names that may belong to a third-party task are no problem before it is loaded.
  const allowUnknown = list !== undefined && list.thirdParty.length > 0
  // A mounted secret may be a pipe, which can be read once.
  const contents = new Map<string, ReturnType<typeof readText>>()
  const resolveWith = async (names: readonly string[], sectionNames?: readonly NamedSectionName[]): Promise<Read> => {
    const [programSections, tasks] = await Promise.all([loadProgramSections(sectionNames), loadBuiltInTasks(names)])
    const sections = sectionsWith(programSections, tasks)
    for (const { path } of secretFilesToRead(sections, given.environment))
      if (!contents.has(path)) contents.set(path, readText(path))
    const raw = { ...given, secretFiles: contents }
    return { raw, programSections, tasks, resolved: resolveConfiguration({ ...raw, sections, allowUnknown }) }
  }
  if (enabledSuffice && list !== undefined && !allowUnknown) {
    // What a file gives is not told apart: it is there for those who give much.
    const read = await resolveWith(
      list.builtIn,
      given.file === undefined ? sectionsGiven(given.environment) : undefined,
    )
    if (read.resolved.problems.length === 0) return read
  }
  return resolveWith(builtInTaskNames)
}

/** Read by itself, because it decides what else is a problem, also when another option is wrong. Undefined when it is wrong itself. */
function taskList(given: Omit<Raw, 'secretFiles'>): TaskList | undefined {
  const secretFiles = new Map<string, never>()
  const { tasks } = resolveConfiguration({ ...given, secretFiles, sections: [tasksAlone], allowUnknown: true })
    .program as Partial<ProgramOptions>
  if (tasks === undefined) return undefined
  return parseTaskList(tasks.join(','), builtInTaskNames)
}

/** One that is given and wrong is among the problems already. */
function missingDatabaseUrl(resolved: ResolvedConfiguration): readonly Problem[] {
  if ((resolved.program as Partial<ProgramOptions>).databaseUrl !== undefined) return []
  const option = resolved.options.find(({ path }) => path === 'databaseUrl')
  if (option?.source !== 'default' || resolved.problems.some(({ path }) => path.startsWith('DATABASE_URL'))) return []
  return [
    {
      path: 'DATABASE_URL',
      expected: 'a PostgreSQL connection string',
      hint: 'set DATABASE_URL=postgres://user:password@host:5432/database, or DATABASE_URL_FILE to a file that holds it',
    },
  ]
}

function registerThirdParty(
  host: ConfigurationHost,
  { raw, programSections, tasks: builtIn }: Read,
  loaded: readonly LoadedTask[],
): Registry {
  const tasks: RegisteredTask[] = []
  const disabled: DisabledTask[] = []
  for (const { specifier, task } of loaded) {
    const sections = sectionsWith(programSections, [...builtIn, task])
    const resolved = resolveConfiguration({ ...raw, sections, allowUnknown: true })
    resolved.tellSecrets(host.secrets)
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
  { raw, programSections, tasks }: Read,
  loaded: readonly LoadedTask[],
): readonly DisabledTask[] {
  const all = sectionsWith(programSections, [...tasks, ...loaded.map(({ task }) => task)])
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

function readText(path: string): { readonly content: string } | { readonly error: string } {
  try {
    return { content: readFileSync(path, 'utf8') }
  } catch (error) {
    return { error: (error as Error).message }
  }
}

type FileContent = Pick<Raw, 'file' | 'fileName' | 'lineOf'> & { readonly problems?: readonly Problem[] }

/** YAML, of which JSON is a part. */
async function readFile(fileName: string): Promise<FileContent> {
  const path = 'SCHEDULER_CONFIG'
  const text = readText(fileName)
  if ('error' in text) return { problems: [{ path, given: fileName, expected: 'a readable file', hint: text.error }] }
  const { readYaml } = await import('./yaml-file.js')
  const { errors, content, lineOf } = readYaml(text.content)
  if (errors.length === 0) return { file: content, fileName, lineOf }
  const problems = errors
    .slice(0, 10)
    .map(({ line, message }) => ({ path, location: `${fileName}:${line}`, expected: 'YAML or JSON', hint: message }))
  return { problems }
}
