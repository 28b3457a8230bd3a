export { vacuum, vacuum as default } from './task.js'
export { vacuumConfig, type VacuumConfig } from './config.js'
