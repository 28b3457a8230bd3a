/** Where the documentation's data comes from: the source itself, imported. */
import { existsSync, readdirSync } from 'node:fs'
import { join, posix } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Section } from '../../packages/scheduler-core/src/configuration/index.js'
import { isTask, type AnyTask } from '../../packages/scheduler-core/src/index.js'

/** What `apps/scheduler/src/reference.ts` exports. */
export interface ProgramReference {
  /** Name as typed. */
  readonly programName: string
  /** The program's own options, those without a section name first. */
  readonly programSections: readonly Section[]
  /** Variables that are read but are no options, such as OpenTelemetry's. */
  readonly standardVariables: readonly { readonly name: string; readonly meaning: string }[]
  readonly builtInTasks: readonly AnyTask[]
  readonly commandNames: readonly string[]
  /** What `--help` prints, of the program or of one command. */
  helpText(command?: string): Promise<string>
}

export interface TaskPackage {
  /** `packages/task-analyze` */
  readonly folder: string
  readonly task: AnyTask
}

export interface Sources {
  readonly program: Omit<ProgramReference, 'helpText'>
  /** Of the program (key '') and of each command. */
  readonly help: ReadonlyMap<string, string>
  readonly taskPackages: readonly TaskPackage[]
}

export async function readSources(root: string): Promise<Sources> {
  const program = await load<ProgramReference>(root, 'apps/scheduler/src/reference.ts')
  const help = new Map([['', await program.helpText()]])
  for (const name of program.commandNames) help.set(name, await program.helpText(name))
  return { program, help, taskPackages: await readTaskPackages(root) }
}

async function readTaskPackages(root: string): Promise<TaskPackage[]> {
  const found: TaskPackage[] = []
  for (const name of readdirSync(join(root, 'packages')).filter((each) => each.startsWith('task-'))) {
    const folder = posix.join('packages', name)
    const module = await load<{ default: unknown }>(root, `${folder}/src/index.ts`)
    if (!isTask(module.default)) throw new Error(`${folder}: the default export is no task`)
    found.push({ folder, task: module.default })
  }
  return found
}

async function load<Module>(root: string, path: string): Promise<Module> {
  if (!existsSync(join(root, path))) throw new Error(`${path} is missing: the documentation is generated from it`)
  return (await import(pathToFileURL(join(root, path)).href)) as Module
}
