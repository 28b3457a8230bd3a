/** Where alerts go under a configuration. The code of the channels is read where somebody is told of alerts, and by nobody else. */
import type { AlertRouting } from '@battlescope/scheduler-core'
import type { Configuration } from '../configuration/load.js'

/** Without a channel alerts are kept, and shown by `status`. */
const nobody: AlertRouting = { channels: [], heartbeats: [], channelsFor: () => [], channelsForChange: () => [] }

/** @param database what people call the database where no installation is configured */
export async function alertRouting(configuration: Configuration, database: string): Promise<AlertRouting> {
  const options = configuration.section('alerts')
  if (options === undefined) return nobody
  const { pagerduty, jsm, alertmanager, slack, webhook, heartbeat } = options
  const keys = [pagerduty.routingKey, jsm.apiKey, alertmanager.urls[0], slack.webhookUrl, webhook.url, heartbeat.url]
  if (keys.every((key) => key === undefined)) return nobody
  const { createRouting } = await import('@battlescope/alerts')
  return createRouting(options, {
    name: options.installation ?? (database === '' ? 'battlescope-scheduler' : database),
  })
}
