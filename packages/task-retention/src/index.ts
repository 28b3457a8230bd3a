export { retention, retention as default } from './task.js'
export { retentionConfig, type RetentionConfig } from './config.js'
