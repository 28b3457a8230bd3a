/** The examples of the providers' own pages, with a valid key where they have a placeholder. */
import type { Provider } from '../src/testing/index.js'

export interface Example {
  readonly provider: Provider
  readonly name: string
  readonly page: string
  readonly method: 'GET' | 'POST' | 'PUT'
  /** Below the address that the channel is configured with. */
  readonly path: string
  readonly body: unknown
}

export const routingKey = '0123456789abcdef0123456789abcdef'

const pagerdutyAlert = 'https://developer.pagerduty.com/docs/send-alert-event'
const opsgenieAlert = 'https://docs.opsgenie.com/docs/alert-api'
const jsmEvents = 'https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events'

export const examples: readonly Example[] = [
  {
    provider: 'pagerduty',
    name: 'trigger',
    page: pagerdutyAlert,
    method: 'POST',
    path: '/v2/enqueue',
    body: {
      payload: {
        summary: 'Example alert on host1.example.com',
        timestamp: '2015-07-17T08:42:58.315+0000',
        source: 'monitoringtool:cloudvendor:central-region-dc-01:852559987:cluster/api-stats-prod-003',
        severity: 'info',
        component: 'postgres',
        group: 'prod-datapipe',
        class: 'deploy',
        custom_details: { 'ping time': '1500ms', 'load avg': 0.75 },
      },
      routing_key: routingKey,
      dedup_key: 'samplekeyhere',
      links: [{ href: 'https://example.com/', text: 'Link text' }],
      event_action: 'trigger',
      client: 'Sample Monitoring Service',
      client_url: 'https://monitoring.example.com',
    },
  },
  {
    provider: 'pagerduty',
    name: 'resolve',
    page: pagerdutyAlert,
    method: 'POST',
    path: '/v2/enqueue',
    body: { routing_key: routingKey, dedup_key: 'dedupkeyhere', event_action: 'resolve' },
  },
  {
    provider: 'pagerduty',
    name: 'change',
    page: 'https://developer.pagerduty.com/docs/send-change-event',
    method: 'POST',
    path: '/v2/change/enqueue',
    body: {
      routing_key: routingKey,
      payload: {
        summary: 'Build Success: Increase snapshot create timeout to 30 seconds',
        timestamp: '2020-07-17T08:42:58.315+0000',
        source: 'acme-build-pipeline-tool-default-i-9999',
        custom_details: { build_state: 'passed', build_number: '2', run_time: '1236s' },
      },
      links: [{ href: 'https://acme.pagerduty.dev/build/2', text: 'View more details in Acme!' }],
    },
  },
  {
    provider: 'opsgenie',
    name: 'create',
    page: opsgenieAlert,
    method: 'POST',
    path: '/alerts',
    body: {
      message: 'An example alert message',
      alias: 'Life is too short for no alias',
      description: 'Every alert needs a description',
      responders: [{ name: 'NOC', type: 'team' }],
      visibleTo: [{ name: 'rocket_team', type: 'team' }],
      actions: ['Restart', 'AnExampleAction'],
      tags: ['OverwriteQuietHours', 'Critical'],
      details: { key1: 'value1', key2: 'value2' },
      entity: 'An example entity',
      priority: 'P1',
    },
  },
  {
    provider: 'opsgenie',
    name: 'close',
    page: opsgenieAlert,
    method: 'POST',
    path: '/alerts/An-example-alias/close?identifierType=alias',
    body: { user: 'Monitoring Script', source: 'AWS Lambda', note: 'Action executed via Alert API' },
  },
  {
    provider: 'opsgenie',
    name: 'update priority',
    page: opsgenieAlert,
    method: 'PUT',
    path: '/alerts/An-example-alias/priority?identifierType=alias',
    body: { priority: 'P2' },
  },
  {
    provider: 'jsm',
    name: 'create',
    page: jsmEvents,
    method: 'POST',
    path: '/alerts',
    body: {
      message: 'The CPU usage on Server XYZ has exceeded 80% for over 5 minutes.',
      alias: 'DatabaseConnectionFailure_DatabaseServer1',
      responders: [{ id: '4513b7ea-3b91-438f-b7e4-e3e54af9147c', type: 'team' }],
    },
  },
  {
    provider: 'alertmanager',
    name: 'alerts',
    page: 'https://prometheus.io/docs/alerting/latest/alerts_api/',
    method: 'POST',
    path: '/api/v2/alerts',
    body: [
      {
        labels: { alertname: 'required_value', name: 'value' },
        annotations: { name: 'value' },
        startsAt: '2026-11-25T10:00:00Z',
        endsAt: '2026-11-25T11:00:00+01:00',
        generatorURL: 'https://example.com/',
      },
    ],
  },
  {
    provider: 'slack',
    name: 'text',
    page: 'https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks',
    method: 'POST',
    path: '',
    body: { text: 'Hello, world.' },
  },
  {
    provider: 'slack',
    name: 'section',
    page: 'https://docs.slack.dev/reference/block-kit/blocks/section-block',
    method: 'POST',
    path: '',
    body: {
      text: 'Hello, world.',
      blocks: [
        {
          type: 'section',
          text: { type: 'mrkdwn', text: 'A message *with some bold text* and _some italicized text_.' },
        },
      ],
    },
  },
  {
    provider: 'webhook',
    name: 'event',
    page: 'https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md',
    method: 'POST',
    path: '',
    body: {
      type: 'contact.created',
      timestamp: '2022-11-03T20:26:10.344522Z',
      data: { id: '1f81eb52-5198-4599-803e-771906343485' },
    },
  },
  {
    provider: 'heartbeat',
    name: 'success',
    page: 'https://healthchecks.io/docs/http_api',
    method: 'GET',
    path: '',
    body: undefined,
  },
]
