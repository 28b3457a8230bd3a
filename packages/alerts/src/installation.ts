import type { AlertContent } from '@battlescope/scheduler-core'
import { wellFormed } from './text-limits.js'

/** Which scheduler speaks. */
export interface Installation {
  /** What people call it, such as `battlescope-production`: source, client or entity of every alert. */
  readonly name: string
}

/** Finding and task as people and route patterns see them; what the scheduler reports of itself has the task `scheduler`. */
export function placeOf({ task, findingKey }: Pick<AlertContent, 'task' | 'findingKey'>): string {
  return `${task ?? 'scheduler'}/${findingKey}`
}

/** The configured link with `{key}`, `{task}` and `{finding}` replaced. */
export function linkFor(
  template: string | undefined,
  alert: Pick<AlertContent, 'key' | 'task' | 'findingKey'>,
): string | undefined {
  // Half a character cannot be written in a URL.
  const part = (text: string) => encodeURIComponent(wellFormed(text))
  return template
    ?.replaceAll('{key}', () => part(alert.key))
    .replaceAll('{task}', () => part(alert.task ?? 'scheduler'))
    .replaceAll('{finding}', () => part(alert.findingKey))
}
