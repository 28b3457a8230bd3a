import type { AnyCheck } from '../check.js'
import { anomalyCheck } from './anomaly-check.js'
import { metrics } from './metrics.js'

export const anomalyChecks: readonly AnyCheck[] = metrics.map(anomalyCheck)
