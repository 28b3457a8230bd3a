import type { TaskResult } from '@battlescope/scheduler-core'
import { performAdopt } from './adopt.js'
import type { RetentionRequest } from './request.js'
import { performRestore } from './restore.js'
import type { Slice } from './slice.js'

/** A run that a command asked for. It leaves the checkpoint of the slot alone. */
export function performRequest(slice: Slice, request: RetentionRequest): Promise<TaskResult> {
  return request.do === 'restore' ? performRestore(slice, request) : performAdopt(slice)
}
