/** infra/prometheus and infra/grafana: they speak of what the program emits, and say what they should, when they should. */
import type { TestDatabase } from '@battlescope/postgres-testing'
import { execaSync } from 'execa'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { ruleTests } from '../scripts/make-rule-tests.mjs'
import { infra } from './kubernetes.js'
import {
  databaseAfterRun,
  namesIn,
  seriesIn,
  seriesInSources,
  together,
  unknownIn,
  type Series,
} from './metric-names.js'

interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

const folder = join(infra, 'prometheus')
const rulesText = readFileSync(join(folder, 'scheduler.rules.yaml'), 'utf8')
const rulesIn = (text: string) =>
  (parse(text) as { groups: readonly { rules: readonly Rule[] }[] }).groups.flatMap(({ rules }) => rules)
const rules = rulesIn(rulesText)
const alerts = rules.filter(({ alert }) => alert !== undefined)

function promtool(...argv: readonly string[]) {
  return execaSync('promtool', argv, { reject: false, cwd: folder, all: true })
}
const missing =
  promtool('--version').exitCode === 0 ? '' : ' (skipped: promtool is not installed; apt-get install prometheus)'

/** Of a rule, wherever it names what is not there. */
function unknownInRules(list: readonly Rule[], series: Series): readonly string[] {
  const recorded = list
    .filter(({ record }) => record !== undefined)
    .map(({ record, expr }) => [record!, namesIn(expr).flatMap((name) => [...(series.get(name) ?? [])])] as const)
  const known = together(series, new Map(recorded.map(([name, labels]) => [name, new Map(labels)])))
  return list.flatMap(({ alert, record, expr, annotations = {} }) =>
    unknownIn(expr, Object.values(annotations), known).map((what) => `${alert ?? record}: ${what}`),
  )
}

describe('alert rules', () => {
  it('have severity, summary, description, a command to run next, and a page that goes on', () => {
    const anchors = new Map(
      ['troubleshoot', 'backups', 'alerts'].map((page) => {
        const text = readFileSync(join(dirname(infra), `docs/${page}.md`), 'utf8')
        const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!.toLowerCase())
        return [page, headings.map((heading) => heading.replaceAll(' ', '-'))]
      }),
    )
    expect(alerts.length).toBeGreaterThanOrEqual(12)
    for (const { alert, labels, annotations } of alerts) {
      expect(['critical', 'warning'], alert).toContain(labels?.['severity'])
      expect(annotations?.['summary'], alert).toMatch(/\w/)
      expect(annotations?.['description'], alert).toMatch(/Next: .*(`battlescope-scheduler |`kubectl )/s)
      const [, page, anchor] = /\/docs\/(\w+)\.md#(.+)$/.exec(annotations?.['runbook_url'] ?? '') ?? []
      expect(anchors.get(page ?? ''), alert).toContain(anchor)
    }
  })

  it('name commands that there are', () => {
    const commands = [...rulesText.matchAll(/battlescope-scheduler\s+([a-z]+)/g)].map(([, command]) => command!)
    const reference = readFileSync(join(dirname(infra), 'docs/generated/command-line.md'), 'utf8')
    expect(commands.filter((command) => !reference.includes(`## \`battlescope-scheduler ${command}\``))).toEqual([])
  })

  it('look back for an hour at least', () => {
    const seconds: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400 }
    const windows = alerts.flatMap(({ expr }) => [...expr.matchAll(/\[(\d+)([mhd])/g)])
    expect(windows.length).toBeGreaterThan(alerts.length)
    expect(windows.filter(([, count, unit]) => Number(count) * seconds[unit!]! < 3600).map(([text]) => text)).toEqual(
      [],
    )
  })

  it('are tried, each for firing and for not firing', () => {
    interface Tried {
      readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts?: readonly unknown[] }[]
    }
    const tried = Object.values(ruleTests).flatMap((text) => (parse(text) as { tests: readonly Tried[] }).tests)
    const looks = tried.flatMap((each) => each.alert_rule_test)
    const names = (fires: boolean) =>
      [
        ...new Set(looks.filter((look) => (look.exp_alerts !== undefined) === fires).map((look) => look.alertname)),
      ].sort()
    expect(names(true)).toEqual(alerts.map(({ alert }) => alert).sort())
    expect(names(false)).toEqual(names(true))
  })

  it.each(Object.keys(ruleTests))('have tests as they are generated: %s', (name) => {
    expect(readFileSync(join(folder, name), 'utf8') === ruleTests[name], 'node infra/scripts/make-rule-tests.mjs').toBe(
      true,
    )
  })
})

describe.skipIf(missing !== '')(`promtool${missing}`, () => {
  it('takes the rules', () => {
    const { exitCode, all } = promtool('check', 'rules', 'scheduler.rules.yaml')
    expect(exitCode, all).toBe(0)
    expect(all).toContain(`${rules.length} rules found`)
  })

  it.each(Object.keys(ruleTests))('finds in %s what is expected', { timeout: 300_000 }, (name) => {
    const { exitCode, all } = promtool('test', 'rules', name)
    expect(exitCode, all).toBe(0)
  })

  it('finds a window that is too short', () => {
    const copy = mkdtempSync(join(tmpdir(), 'battlescope-rules-'))
    try {
      const name = 'scheduler.rules.days.test.yaml'
      cpSync(join(folder, name), join(copy, name))
      writeFileSync(join(copy, 'scheduler.rules.yaml'), rulesText.replaceAll('[1d]', '[10m]'))
      const { exitCode, all } = promtool('test', 'rules', join(copy, name))
      expect(exitCode).not.toBe(0)
      expect(all).toContain('alertname: SchedulerRunMissing')
    } finally {
      rmSync(copy, { recursive: true, force: true })
    }
  })
})

describe('what the program emits', () => {
  let database: TestDatabase
  let emitted: Series
  let series: Series
  beforeAll(async () => {
    const ran = await databaseAfterRun()
    database = ran.database
    emitted = seriesIn(ran.text)
    series = together(emitted, seriesInSources())
  })
  afterAll(() => database?.drop())

  it('is found, by running it and in the sources', () => {
    expect([...emitted.keys()]).toContain('scheduler_retention_backlog_rows')
    expect([...emitted.get('scheduler_retention_throttled')!.keys()]).toEqual(['reason'])
    expect(emitted.has('scheduler_cache_namespace_keys')).toBe(false)
    expect([...series.get('scheduler_cache_namespace_keys')!.keys()].sort()).toEqual(['namespace', 'redis', 'server'])
    // What one says, the other confirms: a source that is misread would name what never appears.
    const ofTasks = [...emitted.keys()].filter((name) =>
      /^scheduler_(analyze|cluster|statistics|retention)_/.test(name),
    )
    expect(ofTasks.filter((name) => !seriesInSources().has(name))).toEqual([])
  })

  it('is all that the rules name', () => {
    expect(unknownInRules(rules, series)).toEqual([])
  })

  it.each([
    ['scheduler_last_run_timestamp_seconds', 'scheduler_last_run_timestamp', 'scheduler_last_run_timestamp'],
    ['scheduler_errors_total{task="cache"}', 'scheduler_errors_total{name="cache"}', 'scheduler_errors_total{name}'],
    ['{outcome="skipped"}', '{outcome="omitted"}', 'scheduler_task_runs_total{outcome="omitted"}'],
    ['sum without (policy)', 'sum without (polcy)', 'polcy'],
    ['Task {{ $labels.task }} failed', 'Task {{ $labels.name }} failed', 'name'],
  ])('does not let pass %s written as %s', (right, wrong, what) => {
    expect(rulesText).toContain(right)
    const found = unknownInRules(rulesIn(rulesText.replaceAll(right, wrong)), series)
    expect(new Set(found.map((text) => text.replace(/^[\w:]+: /, '')))).toEqual(new Set([what]))
  })
})
