import { deriveOptions, resolveConfiguration, type Section } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { alertsConfig, createRouting } from '../src/index.js'
import { matches, routed } from '../src/routing.js'
import { routingKey } from './examples.js'
import { installation, groups } from './messages.js'

const section: Section = { name: 'alerts', description: 'where alerts go', schema: alertsConfig }

describe('the options', () => {
  const { options, problems } = deriveOptions([section])

  it('have descriptions, and names that follow from their paths', () => {
    expect(problems).toEqual([])
    for (const { path, description } of options)
      expect([path, description]).toEqual([path, expect.stringMatching(/.{10}/)])
    expect(options.find(({ path }) => path === 'alerts.pagerduty.routingKey')).toMatchObject({
      environment: 'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY',
      environmentFile: 'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY_FILE',
      secret: true,
    })
  })

  it('are secret where a key or a URL is one', () => {
    expect(options.filter(({ secret }) => secret === true).map(({ path }) => path)).toEqual([
      'alerts.pagerduty.routingKey',
      'alerts.jsm.apiKey',
      'alerts.alertmanager.password',
      'alerts.alertmanager.bearerToken',
      'alerts.slack.webhookUrl',
      'alerts.webhook.url',
      'alerts.webhook.secret',
      'alerts.webhook.headers',
      'alerts.heartbeat.url',
    ])
  })

  it('come from the environment, files of secrets and the configuration file, and no problem quotes a secret', () => {
    const { sections, problems: none } = resolveConfiguration({
      sections: [section],
      environment: {
        SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY_FILE: '/run/secrets/pagerduty',
        SCHEDULER_ALERTS_ALERTMANAGER_URLS: 'http://a:9093,http://b:9093',
        SCHEDULER_ALERTS_ROUTES: '[{"keys":"vacuum/*","channels":["pagerduty"]}]',
      },
      secretFiles: new Map([['/run/secrets/pagerduty', { content: `${routingKey}\n` }]]),
      file: { alerts: { pagerduty: { region: 'eu' } } },
    })
    expect(none).toEqual([])
    expect(sections['alerts']).toMatchObject({
      pagerduty: { routingKey, region: 'eu', severity: 'error' },
      alertmanager: { urls: ['http://a:9093', 'http://b:9093'] },
      routes: [{ keys: 'vacuum/*', severity: 'info', channels: ['pagerduty'] }],
    })
    const wrong = {
      SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY: 'not-the-right-length',
      SCHEDULER_ALERTS_SLACK_WEBHOOK_URL: 'hooks/T0/secret-part',
    }
    const { problems: some } = resolveConfiguration({ sections: [section], environment: wrong })
    expect(some).toHaveLength(2)
    expect(JSON.stringify(some)).not.toMatch(/not-the-right-length|secret-part/)
  })

  it('configure nobody by themselves', () => {
    const { channels, heartbeats } = createRouting(parse({}), installation)
    expect([channels, heartbeats]).toEqual([[], []])
  })

  it('take keys out of files, with their line break', () => {
    const { pagerduty, slack } = parse({
      pagerduty: { routingKey: `${routingKey}\n` },
      slack: { webhookUrl: ' https://hooks.slack.com/services/x\r\n' },
    })
    expect([pagerduty.routingKey, slack.webhookUrl]).toEqual([routingKey, 'https://hooks.slack.com/services/x'])
  })

  it.each([
    [{ pagerduty: { routingKey: 'short' } }, 'pagerduty.routingKey', /32 letters and digits/],
    [{ slack: { webhookUrl: 'hooks.slack.com/services' } }, 'slack.webhookUrl', /http:\/\/ or https/],
    [
      { alertmanager: { urls: ['http://user:pass@alertmanager:9093'] } },
      'alertmanager.urls.0',
      /without user and password/,
    ],
    [
      { alertmanager: { urls: ['http://a:9093'], password: 'secret' } },
      'alertmanager.username',
      /together with password/,
    ],
    [{ alertmanager: { username: 'a', bearerToken: 'b' } }, 'alertmanager.bearerToken', /either/],
    [{ webhook: { url: 'https://example.com' } }, 'webhook.secret', /unsigned: true/],
    [{ webhook: { secret: 'whsec_c2hvcnQ=' } }, 'webhook.secret', /at least 24 bytes/],
    [{ webhook: { template: '{"a": {{summary}}}' } }, 'webhook.template', /in quotes/],
    [{ webhook: { template: '{"a": "{{sumary}}"}' } }, 'webhook.template', /did you mean 'summary'\?/],
    [{ webhook: { template: '["{{summary}}"]' } }, 'webhook.template', /a JSON object/],
    [{ routes: [{ channels: ['slak'] }] }, 'routes.0.channels.0', /did you mean 'slack'\?/],
    [{ routes: [{ channels: ['slack'] }] }, 'routes.0.channels.0', /'slack' needs alerts.slack.webhookUrl/],
    [{ routes: [{ channels: [], severity: 'fatal' }] }, 'routes.0.severity', /info, warning, error, critical/],
    [{ jsm: { apiKey: 'long enough', product: 'opsgeni' } }, 'jsm.product', /./],
  ])('refuse %j at %s', (options, path, expected) => {
    const { error } = alertsConfig.safeParse({ ...groups, ...options })
    expect(error!.issues.map((issue) => [issue.path.join('.'), issue.message])).toContainEqual([
      path,
      expect.stringMatching(expected),
    ])
  })
})

const parse = (options: object) => alertsConfig.parse({ ...groups, ...options })

describe('routes', () => {
  const all = {
    pagerduty: { routingKey },
    jsm: { apiKey: 'a-key-of-an-api' },
    alertmanager: { urls: ['http://alertmanager:9093'] },
    slack: { webhookUrl: 'https://hooks.slack.com/services/x' },
    webhook: { url: 'https://example.com', unsigned: true },
  }
  const alert = (severity: 'info' | 'warning' | 'error' | 'critical', task: string | undefined = 'vacuum') => ({
    key: 'k',
    task,
    findingKey: 'xmin-held',
    severity,
  })
  const namesFor = (options: object, ...parts: Parameters<typeof alert>) =>
    createRouting(parse({ ...all, ...options }), installation).channelsFor(alert(...parts))

  it('by default wake people for errors, and tell everybody of warnings', () => {
    expect(namesFor({}, 'info')).toEqual([])
    expect(namesFor({}, 'warning')).toEqual(['alertmanager', 'slack', 'webhook'])
    expect(namesFor({}, 'error')).toEqual(['pagerduty', 'jsm', 'alertmanager', 'slack', 'webhook'])
  })

  it('go by the severity of each channel', () => {
    expect(
      namesFor({ slack: { ...all.slack, severity: 'info' }, pagerduty: { routingKey, severity: 'critical' } }, 'info'),
    ).toEqual(['slack'])
  })

  it('the first that matches decides, and what matches none goes by the channels', () => {
    const routes = [
      { keys: 'vacuum/*', severity: 'error', channels: ['slack', 'slack'] },
      { keys: 'vacuum/*', channels: [] },
    ]
    expect(namesFor({ routes }, 'critical')).toEqual(['slack'])
    expect(namesFor({ routes }, 'warning')).toEqual([])
    expect(namesFor({ routes }, 'warning', 'analyze')).toEqual(['alertmanager', 'slack', 'webhook'])
  })

  it('send a change to whoever has a time line, or where the first route for its name says, whatever its severity', () => {
    const change = { task: 'backup', changeKey: 'completed' }
    const channelsFor = (routes: object[]) =>
      createRouting(parse({ ...all, routes }), installation).channelsForChange(change)
    expect(channelsFor([])).toContain('pagerduty')
    expect(channelsFor([{ keys: 'backup/completed', severity: 'critical', channels: [] }])).toEqual([])
    expect(channelsFor([{ keys: 'retention/*', channels: [] }])).toContain('pagerduty')
  })

  it("find the scheduler's own under its name", () => {
    const routes = [{ keys: 'scheduler/*', severity: 'info' as const, channels: ['slack'] }]
    expect(routed({ task: undefined, findingKey: 'alerts-undelivered', severity: 'info' }, routes)).toEqual(['slack'])
    expect(routed({ task: 'vacuum', findingKey: 'x', severity: 'info' }, routes)).toBeUndefined()
  })

  it.each([
    ['vacuum/xmin-held', '*', true],
    ['vacuum/xmin-held', 'vacuum/*', true],
    ['vacuum/xmin-held', '*held', true],
    ['vacuum/xmin-held', '*/xmin-hel?', true],
    ['vacuum/xmin-held', 'vacuum', false],
    ['vacuum/xmin-held', 'vacuum/?', false],
    ['vacuum/xmin-held', 'Vacuum/*', false],
    ['vacuum/x.y', 'vacuum/x?y', true],
    ['vacuum/x+y', 'vacuum/x.y', false],
    ['', '**', true],
    ['', '?', false],
  ])('%s is like %s: %s', (text, pattern, expected) => {
    expect(matches(text, pattern)).toBe(expected)
  })

  it('match long texts against hostile patterns', () => {
    expect(matches('a'.repeat(3000), `${'*a'.repeat(100)}b`)).toBe(false)
  })
})
