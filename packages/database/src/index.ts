export type * from './catalog.js'
export type * from './column-types.js'
export { connectionProblem, type ConnectionProblem, type ConnectionProblemKind } from './connection-problem.js'
export {
  ConnectionStringError,
  parseConnectionString,
  type ConnectionTarget,
  type SslMode,
  type TlsSettings,
} from './connection-string.js'
export { openConnections } from './connections.js'
export type * from './contract.js'
export { codeOf, DatabaseError, isSqlState, type DatabaseErrorCode } from './database-error.js'
export { keyTables } from './key-tables.js'
export { maintainGrantedFrom, mayMaintain } from './maintenance-privilege.js'
export { maxIdentifierBytes, quoteIdentifier, quoteRelation } from './quoting.js'
export { parseRelationName, type RelationName } from './relation-name.js'
export {
  chosenRelations,
  isAmongRelations,
  matchesRelation,
  parseRelationPattern,
  type RelationChoice,
  type RelationPattern,
} from './relation-pattern.js'
export { summarizeStatement, type StatementSummary } from './statement-summary.js'
export type * from './tables.js'
