import { duration, formatDuration } from '@battlescope/scheduler-core'
import { showAge } from '../ages.js'
import { defineCheck, measured, notApplicable } from '../check.js'
import { selectUnclustered } from './queries.js'

export const clusteringLag = defineCheck({
  key: 'clustering-lag',
  group: 'queues',
  description: 'Killmails that wait for clustering although their processing delay is over.',
  interval: 'every-run',
  severity: 'error',
  // The service level: over 300 s for 10 minutes.
  holdDownMs: 600_000,
  options: {
    lag: duration().prefault('5m').describe('How long after the processing delay a killmail may wait.'),
  },
  hint: 'does the clusterer run? Its /healthz says nothing of its loop: read its log',
  needs: ({ killmails }) => ({ relations: [{ relation: killmails, columns: ['processed_at', 'occurred_at'] }] }),
  read: async ({ db, settings, relation, now }) => {
    const { killmails, processingDelay } = settings
    if (!relation(killmails).indexedColumns.has('processed_at')) {
      return notApplicable(`${killmails} has no index on processed_at, by which its waiting rows could be counted`)
    }
    const readyBefore = new Date(now.getTime() - processingDelay)
    const { rows, isCapped, oldestAt } = await selectUnclustered(db, killmails, readyBefore)
    return measured({ rows, isCapped, lagMs: oldestAt === undefined ? 0 : readyBefore.getTime() - oldestAt.getTime() })
  },
  judge: ({ rows, isCapped, lagMs }, { lag }) =>
    lagMs <= lag
      ? []
      : [
          {
            summary: `${rows}${isCapped ? ' or more' : ''} killmails wait for clustering, up to ${showAge(lagMs)} beyond the processing delay, the threshold is ${formatDuration(lag)}`,
            details: { rows, lagMs },
            // The task that triggers clustering looks closer; where it says so, this says nothing new.
            dependsOn: ['cluster/backlog-grows', 'cluster/service-level'],
          },
        ],
})
