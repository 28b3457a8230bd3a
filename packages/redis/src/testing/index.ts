export {
  findRedisServer,
  missingRedisServer,
  startRedis,
  startRedisCluster,
  type StartRedisOptions,
  type TestRedis,
  type TestRedisCluster,
} from './start-redis.js'
export { makeCertificates, type Certificates } from './certificates.js'
export { connectTestClient, type TestClient } from './test-client.js'
