import type { AnyCheck } from '../check.js'
import { clockSkew } from './clock-skew.js'
import { diskForecast } from './disk.js'
import { invalidIndexes, sequences, unloggedRelations } from './relations.js'
import { replicationLag, replicationSlots } from './replication.js'
import { cacheMisses, checkpoints, harmful } from './server.js'
import { blockedQueries, connections, idleTransactions, longTransactions } from './sessions.js'
import { deadRows, vacuumHorizon, wraparound } from './vacuuming.js'

export const databaseChecks: readonly AnyCheck[] = [
  connections,
  longTransactions,
  idleTransactions,
  blockedQueries,
  replicationLag,
  replicationSlots,
  wraparound,
  vacuumHorizon,
  deadRows,
  invalidIndexes,
  sequences,
  unloggedRelations,
  cacheMisses,
  checkpoints,
  diskForecast,
  harmful,
  clockSkew,
]
