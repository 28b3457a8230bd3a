export * from './contract.js'
export { openRedis } from './open-redis.js'
export { redisOptions, type RedisOptions } from './options.js'
export { RedisError, type RedisErrorCode } from './redis-error.js'
