export type { Major } from './environment.js'
export { leakCheck, listOpenConnections, type OpenConnection } from './open-connections.js'
export { findPgBouncer, startPgBouncer, type PgBouncer, type PgBouncerOptions } from './pgbouncer.js'
export { sharedServer } from './shared-server.js'
export {
  createTestDatabase,
  createTestRole,
  type DatabaseTemplate,
  type TestDatabase,
  type TestDatabaseOptions,
  type TestRole,
  type TestRoleOptions,
} from './test-database.js'
export { startPostgres } from './start-postgres.js'
export type { TestServer, TestServerOptions } from './test-server.js'
