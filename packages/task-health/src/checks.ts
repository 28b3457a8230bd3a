/** Every check, in the order in which they are listed and reported. */
import { anomalyChecks } from './anomaly/index.js'
import type { AnyCheck } from './check.js'
import { databaseChecks } from './database/index.js'
import { integrityChecks } from './integrity/index.js'
import { queueChecks } from './queues/index.js'
import { serviceChecks } from './services/index.js'

export const checks: readonly AnyCheck[] = [
  ...serviceChecks,
  ...queueChecks,
  ...integrityChecks,
  ...databaseChecks,
  ...anomalyChecks,
]
