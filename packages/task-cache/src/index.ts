export { cache, cache as default } from './task.js'
export { cacheConfig, type CacheConfig } from './config.js'
