export { statisticsConfig, type StatisticsConfig } from './config.js'
export { planStatistics, type StatisticsPlan } from './plan.js'
export { statistics, statistics as default } from './task.js'
