export { backup, backup as default } from './task.js'
export { backupConfig, type BackupConfig } from './config.js'
// With it comes the client `program` of the contract, also in the published types.
export type { ProgramReader, ProgramRunner } from './programs.js'
