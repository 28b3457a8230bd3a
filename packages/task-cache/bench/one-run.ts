/** One run of the task in a process of its own, bundled as the program is: what it did, and how much memory it took. */
import { openConnections } from '@battlescope/database'
import { openRedis, redisOptions } from '@battlescope/redis'
import { registerTask, runScheduler, type TaskLogger } from '@battlescope/scheduler-core'
import { cache, cacheConfig } from '../src/index.js'

const [databaseUrl = '', redis = '{}', config = '{}'] = process.argv.slice(2)
const none = () => undefined
const logger: TaskLogger = { trace: none, debug: none, info: none, warn: none, error: none }
const connections = openConnections({ url: databaseUrl, applicationName: 'battlescope-scheduler', maxConnections: 4 })
const options = redisOptions.parse(JSON.parse(redis))
const report = await runScheduler({
  connections,
  builtIn: {
    tasks: [registerTask(cache, { kind: 'built-in' }, { config: cacheConfig.parse(JSON.parse(config)) })],
    disabled: [],
  },
  clients: { redis: async () => openRedis(options) },
  logger,
  loggerFor: () => logger,
  version: '0.0.0',
  holder: 'bench',
  budgetMs: 40_000,
  graceMs: 10_000,
  abortGraceMs: 2000,
  retention: { historyMs: 86_400_000, actionsMs: 86_400_000 },
  force: true,
})
await connections.close()
const [task] = report.tasks
process.stdout.write(
  JSON.stringify({
    outcome: task?.run?.outcome,
    reason: task?.run?.reason,
    durationMs: Math.round(task?.run?.durationMs ?? 0),
    peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    findings: task?.run?.findings.map(({ summary }) => summary),
  }),
)
