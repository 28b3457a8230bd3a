export { backup, backup as default } from './task.js'
export { backupConfig, type BackupConfig } from './config.js'
