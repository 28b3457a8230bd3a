import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { prometheusName, prometheusText } from '../src/telemetry/prometheus-text.js'
import { battlescope } from './support.js'

describe('Prometheus text', () => {
  it.each([
    ['scheduler.runs', '{run}', 'sum', 'scheduler_runs_total'],
    ['scheduler.duration', 's', 'histogram', 'scheduler_duration_seconds'],
    ['scheduler.tasks.completed', '{task}', 'gauge', 'scheduler_tasks_completed'],
    ['scheduler.errors', '{error}', 'sum', 'scheduler_errors_total'],
    ['scheduler.acme_loot.items-seen', '', 'sum', 'scheduler_acme_loot_items_seen_total'],
    ['scheduler.cluster.lag_seconds', '', 'gauge', 'scheduler_cluster_lag_seconds'],
  ] as const)('%s in %s (%s) is %s', (name, unit, kind, expected) => {
    expect(prometheusName({ name, unit, kind })).toBe(expected)
  })

  it('escapes labels, adds buckets up, and has no family twice', () => {
    const gauge = { kind: 'gauge', unit: '', description: 'one\ntwo' } as const
    const text = prometheusText({
      instanceId: '',
      at: new Date(0),
      metrics: [
        { ...gauge, name: 'a.b', points: [{ attributes: { path: 'C:\\"x"\n' }, value: 1 }] },
        { ...gauge, name: 'a_b', points: [{ attributes: {}, value: NaN }] },
        { ...gauge, name: 'empty', points: [] },
        {
          kind: 'histogram',
          name: 'h',
          unit: 's',
          description: 'h',
          points: [
            {
              attributes: { task: 't' },
              count: 6,
              sum: 1.5,
              bounds: [0.1, 1],
              counts: [1, 2, 3],
              startAt: new Date(0),
            },
          ],
        },
      ],
    })
    expect(text.split('\n')).toEqual([
      '# HELP a_b one\\ntwo',
      '# TYPE a_b gauge',
      'a_b NaN',
      '# HELP h_seconds h',
      '# TYPE h_seconds histogram',
      'h_seconds_bucket{task="t",le="0.1"} 1',
      'h_seconds_bucket{task="t",le="1"} 3',
      'h_seconds_bucket{task="t",le="+Inf"} 6',
      'h_seconds_sum{task="t"} 1.5',
      'h_seconds_count{task="t"} 6',
      '',
    ])
    expect(
      prometheusText({
        instanceId: '',
        at: new Date(0),
        metrics: [{ ...gauge, name: 'a', points: [{ attributes: { path: 'C:\\"x"\n' }, value: 1 }] }],
      }),
    ).toContain('a{path="C:\\\\\\"x\\"\\n"} 1')
  })
})

describe('metrics', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await createTestDatabase()
  })
  afterEach(() => database.drop())

  it('prints nothing before the first run, and everything after it', async () => {
    const environment = { DATABASE_URL: database.url, SCHEDULER_TASKS: 'analyze,statistics' }
    const before = await battlescope(['metrics'], environment)
    expect(before).toMatchObject({ exitCode: 0, stdout: '' })
    expect(before.stderr).toContain('does not exist')
    await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 700) AS id')
    await battlescope(['run', '--task', 'analyze'], environment)
    const { exitCode, stdout, stderr } = await battlescope(['metrics'], environment)
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    const lines = stdout.split('\n')
    // The mission's four.
    expect(lines).toContain('scheduler_runs_total{exit_code="0"} 1')
    expect(lines).toContain('scheduler_duration_seconds_count 1')
    expect(lines).toContain('scheduler_tasks_completed 1')
    expect(lines).toContain('scheduler_errors_total{task="analyze"} 0')
    expect(lines).toContain('scheduler_expected_interval_seconds 300')
    // Seen, but not run yet: a series that vanishes, or is not there, cannot be alerted on.
    expect(lines).toContain('scheduler_task_last_success_timestamp_seconds{task="statistics"} 0')
    const due = /^scheduler_task_next_due_timestamp_seconds\{task="statistics"\} (\d+)/m.exec(stdout)?.[1]
    expect(Number(due)).toBeGreaterThan(1_700_000_000)
    // The page names every metric of the program's own, and none that is not there.
    const page = readFileSync(join(import.meta.dirname, '../../../docs/metrics.md'), 'utf8')
    const documented = [...page.matchAll(/^\| `(scheduler_\w+)`/gm)].map(([, name]) => name)
    const printed = [...stdout.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name ?? '')
    expect(printed.filter((name) => !name.startsWith('scheduler_analyze_')).sort()).toEqual(documented.sort())
    expect(new Set(lines.filter((line) => line.startsWith('# TYPE'))).size).toBe(
      lines.filter((line) => line.startsWith('# TYPE')).length,
    )
  })
})
