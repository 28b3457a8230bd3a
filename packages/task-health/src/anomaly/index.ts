import type { AnyCheck } from '../check.js'

export const anomalyChecks: readonly AnyCheck[] = []
