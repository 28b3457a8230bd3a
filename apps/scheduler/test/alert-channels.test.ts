/** Alerts of the built program, to stand-ins of the providers that enforce their limits. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { startPagerduty, startSlack, startWebhook, type PagerdutyServer } from '@battlescope/alerts/testing'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { makePluginFolder, taskPackage, type PluginFolder } from './plugin-folder.js'
import { battlescope } from './support.js'

const routingKey = 'R0UT1NGKEYR0UT1NGKEYR0UT1NGKEY00'
let database: TestDatabase
let pagerduty: PagerdutyServer
let plugins: PluginFolder
beforeAll(() => {
  plugins = makePluginFolder({
    'acme-look': taskPackage(
      'look',
      `const { rows } = await sql\`SELECT what FROM public.trouble\`.execute(context.db)
       const findings = rows.map(({ what }) => ({ key: what, severity: 'error', summary: what + ' is broken' }))
       return { outcome: 'succeeded', findings }`,
      { before: `import { sql } from 'kysely'` },
    ),
    'acme-done': taskPackage(
      'done',
      `return { outcome: 'succeeded',
         changes: [{ key: 'loaded', summary: 'The market data was loaded', links: [{ href: 'https://market.example/1' }] }] }`,
      { members: `schedule: { kind: 'interval', everyMs: 86_400_000 },` },
    ),
  })
})
afterAll(() => {
  plugins.remove()
})
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.trouble (what text)')
  pagerduty = await startPagerduty()
})
afterEach(async () => {
  await pagerduty.close()
  await database.drop()
})

const environment = () => ({
  DATABASE_URL: database.url,
  SCHEDULER_TASKS: 'npm:acme-look',
  SCHEDULER_PLUGIN_DIR: plugins.path,
  SCHEDULER_ALERTS_INSTALLATION: 'test',
  SCHEDULER_ALERTS_GRACE: '0s',
  SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY: routingKey,
  SCHEDULER_ALERTS_PAGERDUTY_URL: pagerduty.url,
})
const incidents = () => pagerduty.incidents.map(({ title, triggers, resolved }) => [title, triggers, resolved])

describe('an alert', () => {
  it('opens once, survives an outage of its provider, and is resolved', async () => {
    expect((await battlescope(['run'], environment())).exitCode).toBe(0)
    expect(incidents()).toEqual([])

    await database.query(`INSERT INTO public.trouble VALUES ('door')`)
    pagerduty.failAlways({ kind: 'status', status: 503 })
    expect((await battlescope(['run'], environment())).exitCode).toBe(0)
    expect(incidents()).toEqual([])
    const waiting = await battlescope(['status'], environment())
    expect(waiting.stdout).toContain('look/door')
    expect(waiting.stdout).not.toContain(routingKey)

    pagerduty.failAlways(undefined)
    await database.query(`UPDATE scheduler.alert_message SET next_attempt_at = now()`)
    const { stdout, stderr } = await battlescope(['run'], environment())
    expect(incidents()).toEqual([['door is broken', 1, false]])
    await battlescope(['run'], environment())
    expect(incidents()).toEqual([['door is broken', 1, false]])

    await database.query('TRUNCATE public.trouble')
    await battlescope(['run'], environment())
    // One good run may be luck, and two within seconds are one.
    await battlescope(['run'], environment())
    expect(incidents()).toEqual([['door is broken', 1, false]])
    await database.query(`UPDATE scheduler.alert SET last_good_at = last_good_at - interval '5 minutes'`)
    await battlescope(['run'], environment())
    expect(incidents()).toEqual([['door is broken', 1, true]])
    expect(stdout + stderr).not.toContain(routingKey)
  })

  it('tells by itself that PostgreSQL is down, with one key, and that it is back', async () => {
    await battlescope(['run'], environment())
    const down = { ...environment(), DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/battlescope' }
    for (let run = 0; run < 2; run += 1) expect((await battlescope(['run'], down)).exitCode).toBe(69)
    expect(pagerduty.incidents.map(({ triggers, resolved }) => [triggers, resolved])).toEqual([[2, false]])
    expect(JSON.stringify(pagerduty.requests)).not.toContain('secret')
    await database.query(
      `UPDATE scheduler.run SET started_at = started_at - interval '1 hour', finished_at = finished_at - interval '1 hour'`,
    )
    expect((await battlescope(['run'], environment())).exitCode).toBe(0)
    expect(pagerduty.incidents.map(({ triggers, resolved }) => [triggers, resolved])).toEqual([[2, true]])
  })
})

describe('a change', () => {
  const done = () => pagerduty.changes.map((event) => (event['payload'] as { summary: string }).summary)

  it('of retention, and of a third-party task, goes on the time line once, and survives an outage of its provider', async () => {
    const own = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
    const folder = mkdtempSync(join(tmpdir(), 'change-'))
    try {
      await own.query(`INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, processed_at, zkb_url)
        SELECT k, 30000142, at, at, at, 'x' FROM generate_series(1, 41) AS k,
          LATERAL (SELECT now() - CASE WHEN k <= 40 THEN interval '7 years' ELSE interval '1 day' END AS at) AS t`)
      const variables = {
        ...environment(),
        DATABASE_URL: own.url,
        SCHEDULER_TASKS: 'retention,npm:acme-done',
        SCHEDULER_COLD_STORAGE_URL: pathToFileURL(folder).href,
        SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY: 'K0UT1NGKEYR0UT1NGKEYR0UT1NGKEY00',
        SCHEDULER_ALERTS_LINK: 'https://grafana.example/d/{task}',
      }
      pagerduty.failAlways({ kind: 'status', status: 503 })
      const first = await battlescope(['run', '--force'], variables)
      expect(first.exitCode, first.stdout + first.stderr).toBe(0)
      expect(pagerduty.changes).toEqual([])
      const waiting = await battlescope(['status'], variables)
      expect(waiting.stdout).toMatch(/waiting for pagerduty: 2 messages/)

      pagerduty.failAlways(undefined)
      await own.query(`UPDATE scheduler.alert_message SET next_attempt_at = now()`)
      for (let run = 0; run < 2; run += 1) expect((await battlescope(['run'], variables)).exitCode).toBe(0)
      expect(done()).toEqual(['Retention deleted 40 rows: killmails', 'The market data was loaded'])
      expect(pagerduty.changes).toMatchObject([
        { links: [{ href: 'https://grafana.example/d/retention' }] },
        { links: [{ href: 'https://market.example/1' }, { href: 'https://grafana.example/d/done' }] },
      ])
      expect(pagerduty.incidents).toEqual([])
    } finally {
      await own.drop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('alerts test', () => {
  it('sends one alert to every channel and resolves it, without a database', async () => {
    const [slack, webhook] = [await startSlack(), await startWebhook({ now: () => new Date() })]
    try {
      const channels = {
        ...environment(),
        DATABASE_URL: '',
        SCHEDULER_TASKS: 'analyze',
        SCHEDULER_ALERTS_SLACK_WEBHOOK_URL: slack.webhookUrl,
        SCHEDULER_ALERTS_WEBHOOK_URL: webhook.webhookUrl,
        SCHEDULER_ALERTS_WEBHOOK_SECRET: webhook.secret,
      }
      const { exitCode, stdout } = await battlescope(['alerts', 'test', '--json'], channels)
      const { results } = JSON.parse(stdout) as { results: { name: string; outcome: string }[] }
      expect([...new Set(results.map(({ name, outcome }) => `${name} ${outcome}`))].sort()).toEqual([
        'pagerduty delivered',
        'slack delivered',
        'webhook delivered',
      ])
      expect(exitCode).toBe(0)
      expect(pagerduty.incidents.map(({ resolved }) => resolved)).toEqual([true])

      slack.failAlways({ kind: 'status', status: 404 })
      const refused = await battlescope(['alerts', 'test', '--channel', 'slack'], channels)
      expect(refused.exitCode).toBe(1)
      expect(refused.stdout + refused.stderr).not.toContain(new URL(slack.webhookUrl).pathname)
    } finally {
      await slack.close()
      await webhook.close()
    }
  })
})
