export { reindex, reindex as default } from './task.js'
export { reindexConfig, type ReindexConfig } from './config.js'
