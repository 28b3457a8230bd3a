/** Which channel hears of which alert. */
import {
  severities,
  type AlertChannel,
  type AlertContent,
  type AlertRouting,
  type ChangeContent,
  type Severity,
} from '@battlescope/scheduler-core'
import { alertmanagerChannel } from './alertmanager.js'
import type { AlertsConfig, Route } from './config.js'
import { heartbeat } from './heartbeat.js'
import { placeOf, type Installation } from './installation.js'
import { jsmChannel } from './jsm.js'
import { pagerdutyChannel } from './pagerduty.js'
import { slackChannel } from './slack.js'
import { webhookChannel } from './webhook.js'

/** Whoever has a channel's key or URL configured has the channel. Nothing connects before something is sent. */
export function createRouting(options: AlertsConfig, installation: Installation): AlertRouting {
  const { link, routes, pagerduty, jsm, alertmanager, slack, webhook } = options
  const channels: AlertChannel[] = []
  const least = new Map<string, Severity>()
  const add = (channel: AlertChannel, severity: Severity) => {
    channels.push(channel)
    least.set(channel.name, severity)
  }
  if (pagerduty.routingKey !== undefined) {
    add(pagerdutyChannel({ ...pagerduty, routingKey: pagerduty.routingKey }, link, installation), pagerduty.severity)
  }
  if (jsm.apiKey !== undefined) add(jsmChannel({ ...jsm, apiKey: jsm.apiKey }, link, installation), jsm.severity)
  const [firstUrl, ...otherUrls] = alertmanager.urls
  if (firstUrl !== undefined) {
    const urls = [firstUrl, ...otherUrls] as const
    add(alertmanagerChannel({ ...alertmanager, urls }, link, installation), alertmanager.severity)
  }
  if (slack.webhookUrl !== undefined) {
    add(slackChannel({ ...slack, webhookUrl: slack.webhookUrl }, link, installation), slack.severity)
  }
  if (webhook.url !== undefined)
    add(webhookChannel({ ...webhook, url: webhook.url }, link, installation), webhook.severity)

  return {
    channels,
    heartbeats:
      options.heartbeat.url === undefined ? [] : [heartbeat({ ...options.heartbeat, url: options.heartbeat.url })],
    channelsFor: (alert) =>
      routed(alert, routes) ?? [...least].filter(([, severity]) => reaches(alert, severity)).map(([name]) => name),
    channelsForChange: (change) => routedChange(change, routes) ?? [...least.keys()],
  }
}

type Routable = Pick<AlertContent, 'task' | 'findingKey' | 'severity'>

/** The channels of the first route that the alert matches; undefined when it matches none. */
export function routed(alert: Routable, routes: readonly Route[]): readonly string[] | undefined {
  const place = placeOf(alert)
  const route = routes.find(({ keys, severity }) => reaches(alert, severity) && matches(place, keys))
  return route === undefined ? undefined : [...new Set(route.channels)]
}

/** The same for a change, which has no severity: that of a route does not matter to it. */
function routedChange(
  { task, changeKey }: Pick<ChangeContent, 'task' | 'changeKey'>,
  routes: readonly Route[],
): readonly string[] | undefined {
  const place = placeOf({ task, findingKey: changeKey })
  const route = routes.find(({ keys }) => matches(place, keys))
  return route === undefined ? undefined : [...new Set(route.channels)]
}

function reaches({ severity }: Pick<AlertContent, 'severity'>, least: Severity): boolean {
  return severities.indexOf(severity) >= severities.indexOf(least)
}

/** `*` stands for any text, `/` included, and `?` for one character. In time that grows with text times pattern, whatever the pattern. */
export function matches(text: string, pattern: string): boolean {
  let at = 0
  let wanted = 0
  let star = -1
  let afterStar = 0
  while (at < text.length) {
    if (pattern[wanted] === '*') {
      star = wanted
      afterStar = at
      wanted += 1
    } else if (wanted < pattern.length && (pattern[wanted] === '?' || pattern[wanted] === text[at])) {
      at += 1
      wanted += 1
    } else if (star !== -1) {
      // The last star takes one character more.
      wanted = star + 1
      afterStar += 1
      at = afterStar
    } else return false
  }
  while (pattern[wanted] === '*') wanted += 1
  return wanted === pattern.length
}
