export { healthConfig, type HealthConfig } from './config.js'
