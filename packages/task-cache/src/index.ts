export { cacheConfig, type CacheConfig } from './config.js'
export { planCache, type CachePlan } from './plan.js'
export { cache, cache as default } from './task.js'
