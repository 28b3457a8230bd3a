import type { AnyCheck } from '../check.js'
import { clusteringLag } from './clustering-lag.js'
import { enrichmentBacklog, enrichmentFailures, enrichmentMissing, enrichmentStuck } from './enrichments.js'
import { ingestionLag, ingestionStalled } from './ingestion.js'
import { queueAge } from './queue-age.js'
import { queueDepth } from './queue-depth.js'
import { queueEviction } from './queue-eviction.js'
import { queueFailures } from './queue-failures.js'

export const queueChecks: readonly AnyCheck[] = [
  queueDepth,
  queueAge,
  queueFailures,
  queueEviction,
  enrichmentBacklog,
  enrichmentStuck,
  enrichmentFailures,
  enrichmentMissing,
  clusteringLag,
  ingestionStalled,
  ingestionLag,
]
