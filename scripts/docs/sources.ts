/** Where the documentation's data comes from: the source itself, imported. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join, posix } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { Section } from '../../packages/scheduler-core/src/configuration/index.js'
import { isTask, type AnyTask } from '../../packages/scheduler-core/src/index.js'

const execute = promisify(execFile)

export interface Program {
  /** Name as typed. */
  readonly name: string
  readonly sections: readonly Section[]
  readonly builtInTasks: readonly AnyTask[]
  /** Variables that are read but are no options, such as OpenTelemetry's. */
  readonly standardVariables: readonly { readonly name: string; readonly meaning: string }[]
}

export interface TaskPackage {
  /** `packages/task-analyze` */
  readonly folder: string
  readonly task: AnyTask
}

export interface Sources {
  readonly program: Program
  /** What `--help` prints, by command; of the program itself under ''. */
  readonly help: ReadonlyMap<string, string>
  readonly taskPackages: readonly TaskPackage[]
}

export async function readSources(root: string): Promise<Sources> {
  const { loadProgramSections } = await load<{ loadProgramSections: () => Promise<readonly Section[]> }>(
    root,
    'apps/scheduler/src/configuration/sections.ts',
  )
  const { loadBuiltInTasks } = await load<{ loadBuiltInTasks: () => Promise<readonly AnyTask[]> }>(
    root,
    'apps/scheduler/src/built-in-tasks.ts',
  )
  const { standardVariables } = await load<Pick<Program, 'standardVariables'>>(
    root,
    'apps/scheduler/src/telemetry/standard-variables.ts',
  )
  const [programSections, builtInTasks] = [await loadProgramSections(), await loadBuiltInTasks()]
  const program = { name: 'battlescope-scheduler', sections: programSections, builtInTasks, standardVariables }
  return { program, help: await readHelp(root, program.name), taskPackages: await readTaskPackages(root) }
}

/** Asks the program itself, from its source: what is documented is what it prints. */
async function readHelp(root: string, name: string): Promise<ReadonlyMap<string, string>> {
  const start = `
    import { main } from ${JSON.stringify(pathToFileURL(join(root, 'apps/scheduler/src/main.ts')).href)}
    await main({
      argv: process.argv.slice(1),
      appFolder: ${JSON.stringify(join(root, 'apps/scheduler'))},
      importModule: (url) => import(url),
      takeOverSignals: () => undefined,
    })`
  const ask = async (...args: string[]) => {
    const options = ['--conditions=@battlescope/source', '--import', 'tsx', '--input-type=module', '-e', start, '--']
    // Nothing of this machine may show in what is documented.
    const env = { PATH: process.env['PATH'], COLUMNS: '100', NO_COLOR: '1' }
    const { stdout } = await execute(process.execPath, [...options, ...args, '--help'], { cwd: root, env })
    return stdout
  }
  const help = new Map([['', await ask()]])
  const commands = [...(help.get('') ?? '').matchAll(new RegExp(`^ +(?:${name} )?([a-z]+)(?= |$)`, 'gm'))].map(
    ([, command]) => command ?? '',
  )
  for (const command of new Set(commands)) help.set(command, await ask(command))
  return help
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
