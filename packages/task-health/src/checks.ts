/** Every check, in the order in which they are listed and reported. */
import type { AnyCheck } from './check.js'
import { databaseChecks } from './database/index.js'
import { anomalyChecks } from './anomaly/index.js'

export const checks: readonly AnyCheck[] = [...databaseChecks, ...anomalyChecks]
