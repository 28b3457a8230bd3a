export { clusterConfig, type ClusterConfig } from './config.js'
export { planCluster, type ClusterPlan } from './plan.js'
export { cluster, cluster as default } from './task.js'
