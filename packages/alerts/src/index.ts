export * from './options.js'
export type { Installation } from './installation.js'
export { createRouting } from './routing.js'
