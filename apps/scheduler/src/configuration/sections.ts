/** Every section of options that the program knows before it loads packages: what is read, printed, documented and checked. */
import { alertsConfig } from '@battlescope/alerts/options'
import { coldStorageConfig } from '@battlescope/cold-storage'
import { redisOptions, redisSection } from '@battlescope/redis'
import { taskSection, type AnyTask, type Section } from '@battlescope/scheduler-core'
import type { z } from 'zod'
import { programSection } from './program-options.js'

interface NamedSection {
  readonly description: string
  readonly schema: z.ZodObject
}

/** Sections that are no task's, such as the store's or the alerts', by name: an entry here is all that a new one needs. */
export const namedSections = {
  alerts: { description: 'who is told of what, when and how', schema: alertsConfig },
  'cold-storage': { description: 'where archives go', schema: coldStorageConfig },
  redis: { description: redisSection.description ?? '', schema: redisOptions },
} as const satisfies Readonly<Record<string, NamedSection>>

type NamedSections = typeof namedSections
export type NamedSectionName = keyof NamedSections & string
export type NamedSectionOptions<Name extends NamedSectionName> = z.output<
  NamedSections[Name] extends NamedSection ? NamedSections[Name]['schema'] : z.ZodObject
>

/** The program itself and its named sections. */
export const programSections: readonly Section[] = [
  programSection,
  ...Object.entries<NamedSection>(namedSections).map(([name, section]) => ({ name, ...section })),
]

/** With the options of `tasks`. */
export function sectionsWith(tasks: readonly AnyTask[]): readonly Section[] {
  return [...programSections, ...tasks.map(taskSection)]
}
