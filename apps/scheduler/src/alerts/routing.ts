/** Where alerts go under a configuration: the one place that knows a channel. */
import type { AlertRouting } from '@battlescope/scheduler-core'

/** Without a channel alerts are kept, and shown by `status`. */
export function alertRouting(): AlertRouting {
  return { channels: [], heartbeats: [], channelsFor: () => [] }
}
