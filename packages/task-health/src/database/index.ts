import type { AnyCheck } from '../check.js'

export const databaseChecks: readonly AnyCheck[] = []
