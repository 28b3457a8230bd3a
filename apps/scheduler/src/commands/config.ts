/** `config`: what is configured, by whom, and what is wrong with it. */
import {
  configurationJsonSchema,
  exitCodes,
  formatProblems,
  type OptionReport,
  type Registry,
} from '@battlescope/scheduler-core'
import { builtInTaskNames, loadBuiltInTasks } from '../built-in-tasks.js'
import { readConfiguration, type ReadConfiguration } from '../configuration/load.js'
import { loadProgramSections, sectionsWith } from '../configuration/sections.js'
import type { Host } from '../host.js'
import { Output } from '../output.js'
import { loadRegistry, peekState, tasksOfPackages } from '../third-party/look.js'
import { showValue, type InspectOptions } from './inspect.js'

export async function config(host: Host, options: InspectOptions): Promise<number> {
  host.endAtSignal()
  const read = await readConfiguration(host, options.flags, { database: false })
  const { problems } = read
  const { all, disabled } = await everyOption(host, read)
  const shown = all.filter(isShown(read))
  const output = new Output(host)
  if (options.json === true) output.json({ options: shown, problems, disabled, unclaimed: read.resolved.unclaimed })
  else {
    output.table(
      ['option', 'environment', 'value', 'source'],
      shown.map((option) => [option.path, option.environment, showValue(option.value), option.source]),
    )
    for (const { name, reason, hint } of disabled)
      output.line(`${output.paint('disabled', 'red')} ${name}: ${reason}${hint === undefined ? '' : `; ${hint}`}`)
  }
  if (problems.length > 0) {
    output.error(formatProblems(problems))
    return exitCodes.configuration.code
  }
  return disabled.length > 0 ? exitCodes.taskFailed.code : exitCodes.ok.code
}

/** Those of packages too. While something is wrong no package is loaded: what is known of them is not to be trusted. */
async function everyOption(
  host: Host,
  read: ReadConfiguration,
): Promise<{ readonly all: readonly OptionReport[]; readonly disabled: Registry['disabled'] }> {
  if (read.problems.length > 0) return { all: read.resolved.options, disabled: [] }
  const configuration = read.accept()
  if (configuration.thirdParty.length === 0) return { all: read.resolved.options, disabled: [] }
  const registry = await loadRegistry(host, configuration, await peekState(configuration))
  return { all: configuration.optionsWith(tasksOfPackages(registry)), disabled: registry.disabled }
}

/** All but the options of built-in tasks that are not enabled. */
function isShown({ taskList }: ReadConfiguration): (option: OptionReport) => boolean {
  const hidden = new Set(
    taskList === undefined ? [] : builtInTaskNames.filter((name) => !taskList.builtIn.includes(name)),
  )
  return ({ section }) => section === undefined || !hidden.has(section)
}

export async function configSchema(host: Host): Promise<number> {
  const sections = sectionsWith(await loadProgramSections(), await loadBuiltInTasks())
  new Output(host).json(configurationJsonSchema(sections))
  return exitCodes.ok.code
}
