/** Every section of options that the program knows before it loads packages: what is read, printed, documented and checked. */
import {
  environmentPrefix,
  environmentName,
  taskSection,
  type AnyTask,
  type Section,
} from '@battlescope/scheduler-core'
import type { z } from 'zod'
import type { Environment } from '../host.js'
import { programSection } from './program-options.js'

interface NamedSection {
  readonly description: string
  /** Environment variables that do not begin with the section's name. Those that name a file with their value follow from them. */
  readonly variables?: readonly string[]
  readonly load: () => Promise<z.ZodObject>
}

/**
 * Sections that are no task's, such as the store's or the alerts', by name: an entry here is all that a new one needs. Their schemas are
 * read where something of them is given, because every five minutes a run pays for what it reads.
 */
export const namedSections = {
  alerts: {
    description: 'who is told of what, when and how',
    load: async () => (await import('@battlescope/alerts/options')).alertsConfig,
  },
  'cold-storage': {
    description: 'where archives go',
    load: async () => (await import('@battlescope/cold-storage')).coldStorageConfig,
  },
  redis: {
    description: 'connections to Redis, for the tasks that use it',
    variables: ['REDIS_URL', 'ESI_REDIS_CACHE_URL', 'SESSION_REDIS_URL'],
    load: async () => (await import('@battlescope/redis')).redisOptions,
  },
} as const satisfies Readonly<Record<string, NamedSection>>

type NamedSections = typeof namedSections
export type NamedSectionName = keyof NamedSections & string
export type NamedSectionOptions<Name extends NamedSectionName> = z.output<
  Awaited<ReturnType<NamedSections[Name]['load']>>
>

const names = Object.keys(namedSections) as NamedSectionName[]

/** The program itself and its named sections. */
export async function loadProgramSections(
  wanted: readonly NamedSectionName[] = names,
): Promise<readonly [Section, ...Section[]]> {
  const load = async (name: NamedSectionName) => {
    const { description, load: loadSchema } = namedSections[name] as NamedSection
    return { name, description, schema: await loadSchema() }
  }
  return [programSection, ...(await Promise.all(wanted.map(load)))]
}

/** The named sections of which the environment gives something. */
export function sectionsGiven(environment: Environment): readonly NamedSectionName[] {
  const given = Object.keys(environment)
  return names.filter((name) => {
    const { variables = [] } = namedSections[name] as NamedSection
    const prefix = `${environmentPrefix}${environmentName([name])}_`
    return given.some((variable) => variable.startsWith(prefix) || variables.includes(variable.replace(/_FILE$/, '')))
  })
}

/** With the options of `tasks`. */
export function sectionsWith(program: readonly Section[], tasks: readonly AnyTask[]): readonly Section[] {
  return [...program, ...tasks.map(taskSection)]
}
