export { statistics, statistics as default } from './task.js'
export { statisticsConfig, type StatisticsConfig } from './config.js'
export { requestSchema as statisticsRequest } from './request.js'
export type { Request as StatisticsRequest } from './slices.js'
