export { sampleNameConfig, type SampleNameConfig } from './config.js'
export { planSampleName, type SampleNamePlan } from './plan.js'
export { sampleName, sampleName as default } from './task.js'
