export { secretFilesToRead, type RawInput, type SecretFile, type OptionSource } from './assignments.js'
export { maskUrl } from './display.js'
export { configurationJsonSchema } from './json-schema.js'
export { didYouMean, nearest } from './nearest.js'
export { optionTable } from './option-table.js'
export {
  deriveOptions,
  environmentName,
  environmentPrefix,
  isKubernetesServiceVariable,
  type DerivedOptions,
  type Option,
} from './options.js'
export { ConfigurationError, formatProblems, type Problem } from './problems.js'
export {
  resolveConfiguration,
  type ConfigurationInput,
  type OptionReport,
  type ResolvedConfiguration,
} from './resolve.js'
export { taskSection, type Section, type TaskOptions } from './sections.js'
export { parseTaskList, type TaskList } from './task-list.js'
