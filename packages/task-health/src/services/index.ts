import type { AnyCheck } from '../check.js'
import { certificateExpiry } from './certificate-expiry.js'
import { redisAnswers } from './redis-answers.js'
import { redisMemory } from './redis-memory.js'
import { serviceHealth } from './service-health.js'

export const serviceChecks: readonly AnyCheck[] = [serviceHealth, redisAnswers, redisMemory, certificateExpiry]
