/** The section `alerts`. Channels are named by their group: `alerts.slack.webhookUrl` configures the channel `slack`. */
import { alertPolicyOptions, didYouMean, secret, severities } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { keyOf } from './webhook-key.js'
import { templateProblem } from './webhook-template.js'

export const channelNames = ['pagerduty', 'jsm', 'alertmanager', 'slack', 'webhook'] as const
export type ChannelName = (typeof channelNames)[number]

const severityExpected = `one of ${severities.join(', ')}`
const httpUrlExpected = 'an http:// or https:// URL without user and password'

const least = (what: string) =>
  z.enum(severities, { error: severityExpected }).describe(`Least severity that ${what} hears of. Routes go first.`)

const httpUrl = () => z.string().trim().refine(isHttpUrl, { error: httpUrlExpected })

/** Files end in a line break, and a key with one is no key. */
const secretText = () => secret().trim()

/** A URL that lets whoever has it post is a secret as a whole. */
const secretUrl = () => {
  const expected = 'an http:// or https:// URL'
  return secretText()
    .refine((text) => isHttpUrl(text), { error: expected })
    .meta({ quotesNothing: true })
}

const routeSchema = z.strictObject({
  keys: z
    .string()
    .min(1)
    .default('*')
    .describe("Pattern for task/finding, such as 'retention/*'; * stands for any text, ? for one character."),
  severity: z.enum(severities, { error: severityExpected }).default('info').describe('Least severity.'),
  channels: z.array(z.string()).describe('Names of the channels that hear of it; an empty list: nobody.'),
})

export type Route = z.output<typeof routeSchema>

const pagerduty = z
  .object({
    routingKey: secretText()
      .regex(/^[A-Za-z0-9]{32}$/, { error: 'an integration key of 32 letters and digits' })
      .meta({ quotesNothing: true })
      .optional()
      .describe('Integration key of a service for the Events API v2. With it, PagerDuty is told of alerts.'),
    region: z.enum(['us', 'eu']).default('us').describe("The account's service region."),
    url: httpUrl().optional().describe('In place of the address of the region.'),
    changes: z
      .boolean()
      .default(true)
      .describe('Whether finished retentions and backups are sent as change events, which call nobody.'),
    severity: least('PagerDuty').default('error'),
  })
  .describe('PagerDuty, Events API v2')

const jsm = z
  .object({
    apiKey: secretText()
      .min(8, { error: 'an API key of at least 8 characters' })
      .meta({ quotesNothing: true })
      .optional()
      .describe('Key of an API integration. With it, Jira Service Management or Opsgenie is told of alerts.'),
    product: z
      .enum(['jsm', 'opsgenie'])
      .default('jsm')
      .describe('jsm is Jira Service Management; opsgenie is its predecessor, which ends in April 2027.'),
    region: z
      .enum(['us', 'eu'])
      .default('us')
      .describe("Opsgenie's service region; the other product has one address."),
    url: httpUrl().optional().describe('In place of the address of product and region, up to the /v2 before /alerts.'),
    severity: least('it').default('error'),
  })
  .describe('Jira Service Management, or Opsgenie')

const alertmanager = z
  .object({
    urls: z
      .array(httpUrl())
      .default([])
      .describe('Addresses without /api/v2, of every member of a cluster. With them, Alertmanager is told what fires.'),
    username: z.string().min(1).optional().describe('User for basic authentication.'),
    password: secretText().min(1).optional().describe('Password for basic authentication.'),
    bearerToken: secretText()
      .min(1)
      .optional()
      .describe('Token for bearer authentication, in place of user and password.'),
    alertname: z.string().min(1).default('SchedulerFinding').describe('Label alertname of every alert.'),
    labels: z
      .record(
        z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, { error: 'a label name of letters, digits and _' }),
        z.string(),
      )
      .default({})
      .describe('More labels for every alert, such as {"team":"data"}.'),
    severityLabel: z
      .boolean()
      .default(false)
      .describe(
        'Whether the severity is a label too. A raised one is then another alert: the old one ends after three intervals.',
      ),
    severity: least('Alertmanager').default('warning'),
  })
  .describe('Alertmanager, API v2')

const slack = z
  .object({
    webhookUrl: secretUrl().optional().describe('Incoming webhook. With it, Slack gets one digest per run.'),
    severity: least('Slack').default('warning'),
  })
  .describe('Slack')

const webhook = z
  .object({
    url: secretUrl().optional().describe('Where alerts are posted as JSON.'),
    secret: secretText()
      .refine((text) => keyOf(text).length >= 24, {
        error: 'at least 24 bytes, as text or as whsec_ with Base64 (openssl rand -base64 32)',
      })
      .meta({ quotesNothing: true })
      .optional()
      .describe('Key of the signature (HMAC-SHA256, Standard Webhooks): any text, or whsec_ and Base64.'),
    unsigned: z.boolean().default(false).describe('True: post without a signature, when there is no secret.'),
    headers: z
      .record(
        z.string().regex(/^[A-Za-z0-9-]+$/, { error: 'a header name' }),
        secretText().regex(/^[\t\x20-\x7e]*$/, { error: 'printable ASCII' }),
      )
      .optional()
      .describe('More headers, such as {"Authorization":"Bearer …"}.'),
    template: z
      .string()
      .superRefine((text, context) => {
        const problem = templateProblem(text)
        if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
      })
      .optional()
      .describe(
        'JSON to post, with places such as "{{summary}}" or "{{details}}" in its texts. Default: all there is.',
      ),
    severity: least('the webhook').default('warning'),
  })
  .describe('Any receiver of signed JSON')

const heartbeat = z
  .object({
    url: secretUrl().optional().describe("Asked after every run that did its work: a dead man's switch."),
    method: z.enum(['GET', 'POST']).default('GET').describe('How the URL is asked.'),
  })
  .describe("A dead man's switch")

/** The options of channels and routes. Those of the policy (hold-down, reminders, …) are core's; they join in {@link alertsConfig}. */
export const channelOptions = {
  link: httpUrl()
    .optional()
    .describe('Link that goes with every alert, such as a dashboard; {key}, {task} and {finding} are replaced.'),
  routes: z
    .array(routeSchema)
    .default([])
    .describe(
      'Which alerts go where: the first route that matches. What matches none goes by the severity of each channel.',
    ),
  pagerduty,
  jsm,
  alertmanager,
  slack,
  webhook,
  heartbeat,
}

export const alertsConfig = z
  .object({
    ...alertPolicyOptions().shape,
    ...channelOptions,
  })
  .superRefine((options, context) => {
    const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
    const configured = configuredChannels(options)
    for (const [index, { channels }] of options.routes.entries()) {
      for (const [position, name] of channels.entries()) {
        const problem = routeProblem(name, configured)
        if (problem !== undefined) refuse(['routes', index, 'channels', position], problem)
      }
    }
    const { username, password, bearerToken } = options.alertmanager
    if (password !== undefined && username === undefined)
      refuse(['alertmanager', 'username'], 'given together with password')
    if (bearerToken !== undefined && username !== undefined) {
      refuse(['alertmanager', 'bearerToken'], 'either this, or user and password')
    }
    const { url, secret: key, unsigned } = options.webhook
    if (url !== undefined && key === undefined && !unsigned) {
      refuse(['webhook', 'secret'], 'a secret for the signature, or unsigned: true')
    }
  })

export type AlertsConfig = z.output<typeof alertsConfig>

const keyOptions: Readonly<Record<ChannelName, string>> = {
  pagerduty: 'alerts.pagerduty.routingKey',
  jsm: 'alerts.jsm.apiKey',
  alertmanager: 'alerts.alertmanager.urls',
  slack: 'alerts.slack.webhookUrl',
  webhook: 'alerts.webhook.url',
}

function configuredChannels(options: {
  readonly pagerduty: { readonly routingKey?: string | undefined }
  readonly jsm: { readonly apiKey?: string | undefined }
  readonly alertmanager: { readonly urls: readonly string[] }
  readonly slack: { readonly webhookUrl?: string | undefined }
  readonly webhook: { readonly url?: string | undefined }
}): ReadonlySet<ChannelName> {
  const has: Readonly<Record<ChannelName, boolean>> = {
    pagerduty: options.pagerduty.routingKey !== undefined,
    jsm: options.jsm.apiKey !== undefined,
    alertmanager: options.alertmanager.urls.length > 0,
    slack: options.slack.webhookUrl !== undefined,
    webhook: options.webhook.url !== undefined,
  }
  return new Set(channelNames.filter((name) => has[name]))
}

function routeProblem(name: string, configured: ReadonlySet<ChannelName>): string | undefined {
  const known = channelNames.find((each) => each === name)
  if (known === undefined) {
    const near = didYouMean(name, channelNames)
    return `a channel: ${channelNames.join(', ')}${near === undefined ? '' : `; ${near}`}`
  }
  return configured.has(known) ? undefined : `a channel that is configured; '${name}' needs ${keyOptions[known]}`
}

function isHttpUrl(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false
  const { username, password } = new URL(text)
  return username === '' && password === ''
}
