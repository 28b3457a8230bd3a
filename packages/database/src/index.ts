export { connectionProblem, type ConnectionProblem, type ConnectionProblemKind } from './connection-problem.js'
export {
  ConnectionStringError,
  parseConnectionString,
  type ConnectionTarget,
  type SslMode,
  type TlsSettings,
} from './connection-string.js'
export {
  openConnections,
  type ConnectionsOptions,
  type DatabaseConnections,
  type DirectSession,
  type SnapshotSession,
  type TransactionSession,
} from './connections.js'
export { codeOf, DatabaseError, isSqlState, type DatabaseErrorCode } from './database-error.js'
export type { Notice, StatementReport } from './pg-connection.js'
export type { ServerFacts } from './probe.js'
export type { UnitOfWork } from './unit-of-work.js'
export { maxIdentifierBytes, quoteIdentifier, quoteRelation } from './quoting.js'
export { parseRelationName, type RelationName } from './relation-name.js'
export { assertRead, hasEffects } from './statement-guard.js'
export type * from './catalog.js'
export type * from './column-types.js'
export type * from './tables.js'
