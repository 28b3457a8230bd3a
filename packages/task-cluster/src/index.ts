export { cluster, cluster as default } from './task.js'
export { clusterConfig, type ClusterConfig } from './config.js'
