/** infra/grafana: a dashboard that Grafana can show, of series and tables that there are. */
import type { TestDatabase } from '@battlescope/postgres-testing'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

interface Target {
  readonly refId: string
  readonly datasource: { readonly type: string; readonly uid: string }
  readonly expr?: string
  readonly legendFormat?: string
  readonly rawSql?: string
  readonly format?: 'time_series' | 'table'
}

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly Target[]
}

interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly schemaVersion: number
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query: unknown }[]
  }
  readonly panels: readonly Panel[]
}

const text = readFileSync(join(infra, 'grafana/scheduler.json'), 'utf8')
const dashboard = JSON.parse(text) as Dashboard
const { panels } = dashboard
const charts = panels.filter(({ type }) => type !== 'row')
const targets = charts.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })))
const promql = targets.filter(({ expr }) => expr !== undefined)
const statements = targets.filter(({ rawSql }) => rawSql !== undefined)

/** What overlaps on Grafana's grid of 24 columns, or leaves it. */
function misplaced(list: readonly Panel[]): readonly string[] {
  const outside = list.filter(({ gridPos: { x, y, w, h } }) => x < 0 || y < 0 || w < 1 || h < 1 || x + w > 24)
  const pairs = list.flatMap((a, index) => list.slice(index + 1).map((b) => [a, b] as const))
  const overlapping = pairs.filter(
    ([{ gridPos: a }, { gridPos: b }]) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h,
  )
  return [...outside.map(({ title }) => title), ...overlapping.map(([a, b]) => `${a.title} | ${b.title}`)]
}

function unknownInPanels(list: readonly (Target & { readonly title: string })[], series: Series): readonly string[] {
  return list.flatMap(({ title, expr, legendFormat = '' }) =>
    unknownIn(expr!, [legendFormat], series).map((what) => `${title}: ${what}`),
  )
}

/** As Grafana fills it in: variables, and its macro for the chosen time. https://grafana.com/docs/grafana/latest/datasources/postgres/ */
function filledIn(sql: string): string {
  const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString()
  return sql
    .replaceAll('${schema}', 'scheduler')
    .replaceAll(/\$__timeFilter\((\w+)\)/g, (_, column) => `${column} BETWEEN '${day(-7)}' AND '${day(1)}'`)
}

describe('the dashboard', () => {
  it('has panels with ids of their own, each with a title and a description', () => {
    expect(dashboard).toMatchObject({ uid: 'battlescope-scheduler', title: 'BattleScope scheduler' })
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39)
    expect(charts.length).toBeGreaterThan(20)
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(new Set(charts.map(({ title }) => title)).size).toBe(charts.length)
    expect(panels.filter(({ description = '' }) => !description.endsWith('.')).map(({ title }) => title)).toEqual([])
    for (const { title, targets = [] } of charts) {
      expect(targets.length, title).toBeGreaterThan(0)
      expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length)
    }
  })

  it('has none on top of another', () => {
    expect(misplaced(panels)).toEqual([])
    const [first, second] = charts
    expect(misplaced([first!, { ...second!, gridPos: { ...first!.gridPos, x: first!.gridPos.x + 1 } }])).toHaveLength(1)
    expect(misplaced([{ ...first!, gridPos: { ...first!.gridPos, w: 25 } }])).toEqual([first!.title])
  })

  it('takes its data from two variables, and uses no variable that it has not', () => {
    const { list } = dashboard.templating
    const sources = list.filter(({ type }) => type === 'datasource').map(({ name, query }) => [name, query])
    expect(Object.fromEntries(sources)).toEqual({
      prometheus: 'prometheus',
      postgresql: 'grafana-postgresql-datasource',
    })
    const names = new Set(list.map(({ name }) => name))
    const used = [...text.matchAll(/\$\{?(?!__)([a-z]\w*)\}?/g)].map(([, name]) => name!)
    expect(new Set(used)).toEqual(names)
    expect(promql.every(({ datasource }) => datasource.uid === '${prometheus}')).toBe(true)
    expect(statements.every(({ datasource }) => datasource.uid === '${postgresql}')).toBe(true)
    expect(promql.length + statements.length).toBe(targets.length)
  })

  it('looks back for an hour at least, at series of the chosen instances', () => {
    for (const { title, expr } of promql) {
      const selectors = [...expr!.matchAll(/scheduler_\w+(\{[^}]*\})?(\[\w+\])?/g)]
      expect(selectors.length, title).toBeGreaterThan(0)
      for (const [selector, labels, window] of selectors) {
        expect(labels, selector).toContain('instance=~"$instance"')
        expect(['[1h]', '[6h]', '[1d]'], selector).toContain(window)
      }
    }
  })
})

describe('what it shows', () => {
  let database: TestDatabase
  let series: Series
  let emitted: Series
  beforeAll(async () => {
    const ran = await databaseAfterRun()
    database = ran.database
    emitted = seriesIn(ran.text)
    series = together(emitted, seriesInSources())
  })
  afterAll(() => database?.drop())

  it('is there', () => {
    expect(unknownInPanels(promql, series)).toEqual([])
  })

  it('is not there when a name or a label is wrong', () => {
    const [target] = promql.filter(({ expr }) => expr!.includes('scheduler_cache_namespace_keys'))
    const wrong = [
      { ...target!, expr: target!.expr!.replace('namespace_keys', 'namespace_key') },
      { ...target!, legendFormat: '{{name_space}}' },
      { ...target!, expr: target!.expr!.replace('{', '{cache="a", ') },
    ]
    expect(wrong.map((each) => unknownInPanels([each], series).at(0))).toEqual([
      'Keys: scheduler_cache_namespace_key',
      'Keys: name_space',
      'Keys: scheduler_cache_namespace_keys{cache}',
    ])
  })

  it('is every metric of the program, and of the tasks that ran', () => {
    const shown = new Set(promql.flatMap(({ expr }) => namesIn(expr!)))
    const page = readFileSync(join(dirname(infra), 'docs/metrics.md'), 'utf8')
    const documented = [...page.matchAll(/^\| `(scheduler_\w+)`/gm)].map(([, name]) => name!)
    const isShown = (name: string) => shown.has(name) || shown.has(`${name}_bucket`)
    expect(documented.length).toBeGreaterThan(10)
    expect(documented.filter((name) => !isShown(name))).toEqual([])
    const ofTasks = [...emitted.keys()].filter((name) =>
      /^scheduler_(analyze|cache|cluster|reindex|retention|statistics|vacuum)_/.test(name),
    )
    expect(ofTasks.filter((name) => !isShown(name))).toEqual([])
  })

  it('is in the database, as Grafana wants it', async () => {
    // Sizes are those that the run measured. It found no battles, so a day of them is put there.
    await database.query(`
      INSERT INTO scheduler.statistics_by_system (day, system_id, battles, killmails, isk_destroyed, isk_lost, participants)
      VALUES ((now() AT TIME ZONE 'UTC')::date, 30000142, 3, 12, 1e9, 1e9, 9) ON CONFLICT DO NOTHING`)
    expect(statements.length).toBeGreaterThanOrEqual(3)
    const all = statements.map(({ rawSql }) => rawSql).join()
    expect(all).toContain('statistics_table_growth')
    expect(all).toContain('statistics_overview')
    for (const { title, rawSql, format } of statements) {
      const rows = await database.query(filledIn(rawSql!))
      expect(rows.length, title).toBeGreaterThan(0)
      if (format === 'time_series') {
        expect(rows[0]!['time'], title).toBeInstanceOf(Date)
        // A pair of name and value, or columns of numbers; int8 and numeric are text for the driver of this test.
        const columns = Object.keys(rows[0]!).filter((name) => name !== 'time')
        const numbers = columns.filter((name) => name !== 'metric')
        for (const name of numbers) expect(Number(rows[0]![name]), `${title}: ${name}`).not.toBeNaN()
      }
    }
  })

  it('is readable for the role of the README, which may read nothing else', async () => {
    const [, grants = ''] =
      /```sql\n.*?\n((?:GRANT .*\n)+)```/s.exec(readFileSync(join(infra, 'README.md'), 'utf8')) ?? []
    const { name } = await database.createRole({ grants: grants.replaceAll('TO grafana', 'TO $role') })
    await database.query(`SET ROLE ${name}`)
    try {
      for (const { rawSql } of statements) await database.query(filledIn(rawSql!))
      await expect(database.query('SELECT 1 FROM scheduler.task')).rejects.toThrow('permission denied')
    } finally {
      await database.query('RESET ROLE')
    }
  })

  it('fails for a column that is not there', async () => {
    const { rawSql } = statements.find((statement) => statement.rawSql!.includes('heap_bytes'))!
    await expect(database.query(filledIn(rawSql!.replaceAll('heap_bytes', 'heap_size')))).rejects.toThrow('heap_size')
  })
})
