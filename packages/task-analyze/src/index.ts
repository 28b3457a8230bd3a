export { analyze, analyze as default } from './task.js'
export { analyzeConfig, type AnalyzeConfig } from './config.js'
