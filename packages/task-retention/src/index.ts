export { retentionConfig, type RetentionConfig } from './config.js'
export { planRetention, type RetentionPlan } from './plan.js'
export { retention, retention as default } from './task.js'
