export type * from './format/types.js'
