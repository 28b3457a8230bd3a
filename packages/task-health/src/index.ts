export { health, health as default } from './task.js'
export { healthConfig, type HealthConfig } from './config.js'
