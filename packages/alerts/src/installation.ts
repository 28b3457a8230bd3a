import type { AlertContent } from '@battlescope/scheduler-core'

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
export function linkFor(template: string | undefined, alert: AlertContent): string | undefined {
  return template
    ?.replaceAll('{key}', encodeURIComponent(alert.key))
    .replaceAll('{task}', encodeURIComponent(alert.task ?? 'scheduler'))
    .replaceAll('{finding}', encodeURIComponent(alert.findingKey))
}
