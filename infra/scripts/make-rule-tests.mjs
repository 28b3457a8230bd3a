/**
 * Makes prometheus/scheduler.rules.test.yaml: a scheduler in a few lines, whose runs come with jitter every 5 or 15 minutes, and what is to
 * be heard of it. Run again when a rule or a case changes:
 *
 *   node infra/scripts/make-rule-tests.mjs
 *
 * Written by hand, series of one sample in five minutes, each a little late, would be unreadable and wrong.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'prometheus')
const hour = 3600
const day = 24 * hour
const target = { job: 'battlescope-scheduler', instance: '6f3c1d9e' }
/** Minutes that runs are late. Prometheus' own five minutes of looking back do not reach over such an interval. */
const lateness = [0, 1, 0, 2, 1, 0, 0, 1]
/** Some of them; what matters is around the budget. */
const bounds = [5, 30, 45, 60]
/** Those that rules tell apart. */
const outcomes = ['skipped', 'succeeded']
/** `every` in seconds; undefined: in every run. */
const tasks = [
  { name: 'analyze' },
  { name: 'cache', every: hour },
  { name: 'cluster' },
  { name: 'reindex', every: day, phase: 5 * hour },
  { name: 'retention', every: day, phase: 2 * hour },
  { name: 'statistics', every: hour / 2 },
  { name: 'vacuum', every: day, phase: 4 * hour },
]
const healthy = {
  runs: () => true,
  duration: () => 3,
  exitCode: () => 0,
  /** A task of no trigger, which skips itself in every run, is healthy. `waits`: due, and not started. */
  outcome: (task) => (task === 'cluster' ? 'skipped' : 'succeeded'),
  paused: () => false,
  late: () => 0,
  lagP95: () => 40,
  throttled: () => 0,
  backlogRows: () => ({ killmails: 0 }),
  /** Seconds since the newest good backup was begun. */
  backupAge: () => hour,
  /** By the nightly tasks, as their last run had it. */
  vacuumDue: () => 0,
  vacuumHeldBack: () => 0,
  indexesBloated: () => 0,
  indexesRebuilt: () => 0,
  undelivered: () => 0,
  deadLetters: () => 0,
}

/** @returns text of the series → [minute, value][] */
function simulate(minutes, seconds, behaviour) {
  const is = { ...healthy, ...behaviour }
  const series = new Map()
  const runs = new Map()
  const durations = []
  const state = new Map(
    tasks.map(({ name, every, phase = 0 }) => [
      name,
      { start: 0, success: 0, failures: 0, errors: 0, tries: 0, due: every && (phase || every), totals: new Map() },
    ]),
  )
  for (let k = 1; k * minutes * 60 < seconds; k++) {
    const minute = k * minutes + lateness[k % lateness.length]
    const at = minute * 60
    if (!is.runs(at)) continue
    for (const { name, every, phase = 0 } of tasks) {
      const task = state.get(name)
      if (is.paused(name, at) || at < (task.due ?? 0)) continue
      const outcome = is.outcome(name, at, task.tries)
      if (outcome === 'waits') continue
      task.tries++
      task.start = at - 4
      task.totals.set(outcome, (task.totals.get(outcome) ?? 0) + 1)
      const failed = outcome === 'failed'
      task.failures = failed ? task.failures + 1 : 0
      if (failed) task.errors++
      if (outcome === 'succeeded') task.success = at - 3
      // The slot after this one; after a failure in a row soon again, with growing pauses.
      const nextSlot = every && (Math.floor((at - phase) / every) + 1) * every + phase
      task.due = task.failures >= 1 && every ? Math.min(nextSlot, at + 60 * 2 ** (task.failures - 1)) : nextSlot
    }
    const exitCode = is.exitCode(at, k)
    runs.set(exitCode, (runs.get(exitCode) ?? 0) + 1)
    durations.push(is.duration(at, k))
    const tell = (name, labels, value) => {
      const text = `${name}{${Object.entries({ ...labels, ...target })
        .map(([label, of]) => `${label}="${of}"`)
        .join(', ')}}`
      series.set(text, [...(series.get(text) ?? []), [minute, value]])
    }
    for (const code of [0, 1, 75, 80, 130, 143]) {
      tell('scheduler_runs_total', { exit_code: code }, runs.get(code) ?? 0)
    }
    for (const bound of [...bounds, Infinity]) {
      const le = bound === Infinity ? '+Inf' : bound
      tell('scheduler_duration_seconds_bucket', { le }, durations.filter((each) => each <= bound).length)
    }
    tell('scheduler_duration_seconds_count', {}, durations.length)
    tell('scheduler_last_run_timestamp_seconds', {}, at - 2)
    tell('scheduler_expected_interval_seconds', {}, minutes * 60)
    for (const [task, { start, success, failures, errors, due, totals }] of state) {
      tell('scheduler_task_last_start_timestamp_seconds', { task }, start)
      tell('scheduler_task_last_success_timestamp_seconds', { task }, success)
      tell('scheduler_task_consecutive_failures', { task }, failures)
      tell('scheduler_errors_total', { task }, errors)
      if (due) tell('scheduler_task_next_due_timestamp_seconds', { task }, is.paused(task, at) ? 0 : due)
      for (const outcome of outcomes) tell('scheduler_task_runs_total', { task, outcome }, totals.get(outcome) ?? 0)
    }
    tell('scheduler_alerts_undelivered', {}, is.undelivered(at))
    tell('scheduler_alerts_dead_letters', {}, is.deadLetters(at))
    tell('scheduler_cluster_backlog_late', {}, is.late(at))
    tell('scheduler_cluster_lag_p95_seconds', {}, is.lagP95(at))
    for (const reason of ['replica-lag', 'replica-lag-unknown', 'wraparound', 'lock-waiters']) {
      tell('scheduler_retention_throttled', { reason }, reason === 'replica-lag' ? is.throttled(at) : 0)
    }
    tell('scheduler_backup_last_success_timestamp_seconds', {}, at - is.backupAge(at))
    tell('scheduler_vacuum_relations_due', {}, is.vacuumDue(at))
    tell('scheduler_vacuum_relations_held_back', {}, is.vacuumHeldBack(at))
    tell('scheduler_reindex_indexes_bloated', {}, is.indexesBloated(at))
    tell('scheduler_reindex_indexes_rebuilt_total', {}, is.indexesRebuilt(at))
    for (const [policy, rows] of Object.entries(is.backlogRows(at))) {
      tell('scheduler_retention_backlog_rows', { policy }, rows)
    }
  }
  return series
}

const rules = parse(readFileSync(join(folder, 'scheduler.rules.yaml'), 'utf8')).groups.flatMap((group) => group.rules)
const alerts = new Map(rules.filter(({ alert }) => alert).map((rule) => [rule.alert, rule]))

/** Only what the rules of these alerts read, so that the file stays small. */
function readBy(names) {
  const recorded = new Map(rules.filter(({ record }) => record).map(({ record, expr }) => [record, expr]))
  const expressions = names.map((name) => alerts.get(name).expr)
  const all = expressions.map((expr) => expr.replaceAll(/scheduler_task:\w+:\w+/g, (name) => recorded.get(name)))
  return new Set(all.flatMap((expr) => expr.match(/\bscheduler_\w+/g)))
}

/** Samples in promtool's notation: one place a minute. */
function written(samples) {
  let next = 0
  const parts = []
  for (const [minute, value] of samples) {
    if (minute > next) parts.push(`_x${minute - next}`)
    parts.push(value)
    next = minute + 1
  }
  return parts.join(' ')
}

function clock(seconds) {
  return `${Math.floor(seconds / hour)}h${Math.round((seconds % hour) / 60)}m`
}

/** What Alertmanager would get. Values are not computed by the means that are tested: a case says them. */
function expected(name, { labels = {}, value = '' }) {
  const { labels: own, annotations } = alerts.get(name)
  const fill = (text) =>
    text
      .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label) => labels[label])
      .replaceAll(/\{\{ \$value[^}]*\}\}/g, value)
  return {
    exp_labels: { ...own, ...(labels === 'none' ? {} : { ...target, ...labels }) },
    exp_annotations: Object.fromEntries(Object.entries(annotations).map(([key, text]) => [key, fill(text)])),
  }
}

/**
 * Series are given as far as the alerts that it hears of read them, and of the tasks that fire, if any do.
 *
 * @param hears [seconds, alert, { labels, value } of each that fires, …]
 */
function testCase(name, minutes, seconds, behaviour, hears, moreTasks = []) {
  const names = [...new Set(hears.map(([, alert]) => alert))]
  const wanted = readBy(names)
  const about = new Set(hears.flatMap(([, , ...firing]) => firing.flatMap(({ labels }) => labels?.task ?? [])))
  for (const task of about.size > 0 ? moreTasks : []) about.add(task)
  const series = [...simulate(minutes, seconds, behaviour)].filter(([text]) => {
    const [, task] = /\btask="(\w+)"/.exec(text) ?? []
    return wanted.has(text.replace(/\{.*/, '')) && (task === undefined || about.size === 0 || about.has(task))
  })
  return {
    name: `every ${minutes} minutes: ${name}`,
    interval: '1m',
    input_series: series.map(([text, samples]) => ({ series: text, values: written(samples) })),
    alert_rule_test: hears.map(([at, alertname, ...firing]) => ({
      eval_time: clock(at),
      alertname,
      ...(firing.length > 0 ? { exp_alerts: firing.map((each) => expected(alertname, each)) } : {}),
    })),
  }
}

const every = (from, to, step) => Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step)
const silent = (times) => times.flatMap((at) => [...alerts.keys()].map((alert) => [at, alert]))
const from = (begin, then, before) => (at) => (at >= begin ? then : before)
const only =
  (task, then, otherwise = healthy.outcome) =>
  (name, at, tries) =>
    name === task ? then(at, tries) : otherwise(name)

/** Everything below is to hold at both intervals; `i` is one in seconds. */
function casesAt(minutes) {
  const i = minutes * 60
  const begin = 2 * hour
  // No sample is taken at this minute, nor one window before: whether windows include their first instant depends on the version.
  const between = 3 * 60
  const make = (name, seconds, behaviour, hears) => testCase(name, minutes, seconds, behaviour, hears)
  const others = (...except) => [...alerts.keys()].filter((alert) => !except.includes(alert))
  const of5or15 = (at5, at15) => (minutes === 5 ? at5 : at15)
  return [
    make(
      'all is well, with jitter',
      3 * hour,
      {},
      silent([...every(i + 60, 2.5 * hour, 23 * 60), ...every(2.5 * hour, 2.5 * hour + i, 60)]),
    ),
    make(
      'two runs are missing',
      5 * hour,
      { runs: (at) => at < begin + 120 || at >= begin + 3 * i },
      silent([...every(begin + 2 * i, begin + 3 * i + 120, 2 * 60), begin + 4 * i, begin + hour, begin + 2 * hour]),
    ),
    make('no run comes any more', 3 * hour, { runs: (at) => at <= begin + 120 }, [
      [begin + 3 * i, 'SchedulerRunMissing'],
      [begin + 3 * i + 300, 'SchedulerRunMissing', { value: of5or15('20m 2s', '50m 2s') }],
      // What the last run said is not said again by others.
      ...others('SchedulerRunMissing', 'SchedulerMetricsMissing').map((alert) => [begin + 50 * 60, alert]),
    ]),
    make('runs fail', 4 * hour, { exitCode: from(begin, 1, 0) }, [
      [begin + i - 60, 'SchedulerRunsFailing'],
      [begin + 80 * 60 + between, 'SchedulerRunsFailing', { value: of5or15('11', '3') }],
    ]),
    make(
      'one run of three fails',
      4 * hour,
      { exitCode: (_, k) => (k % 3 === 0 ? 1 : 0) },
      every(2 * hour, 3.5 * hour, 7 * 60).map((at) => [at, 'SchedulerRunsFailing']),
    ),
    make('runs were busy, or interrupted by hand', 3 * hour, { exitCode: (_, k) => (k % 2 === 0 ? 75 : 130) }, [
      [2.5 * hour, 'SchedulerRunsFailing'],
    ]),
    make('runs take too long', 4 * hour, { duration: from(begin, 50, 3) }, [
      [begin + i - 60, 'SchedulerOverBudget'],
      [begin + 80 * 60, 'SchedulerOverBudget', {}],
    ]),
    make(
      'one run of three takes long',
      4 * hour,
      { duration: (_, k) => (k % 3 === 0 ? 1800 : 44) },
      every(2 * hour, 3.5 * hour, 7 * 60).map((at) => [at, 'SchedulerOverBudget']),
    ),
    make(
      'a task fails, and is tried again soon',
      7 * hour,
      { outcome: only('cache', (at) => (at >= 3 * hour ? 'failed' : 'succeeded')) },
      [
        [3 * hour + 2 * i - 60, 'SchedulerTaskFailing'],
        [6 * hour + between, 'SchedulerTaskFailing', { labels: { task: 'cache' }, value: of5or15('9', '8') }],
        [3 * hour + 2 * i - 60, 'SchedulerCacheFailing'],
        [6 * hour + between, 'SchedulerCacheFailing', { labels: { task: 'cache' }, value: of5or15('9', '8') }],
        // Repetitions after minutes do not make the period shorter.
        [4 * hour - 60, 'SchedulerTaskStale'],
        [4 * hour + i / 2, 'SchedulerTaskStale'],
        [5 * hour, 'SchedulerTaskStale', { labels: { task: 'cache' } }],
      ],
    ),
    make(
      'a task of every run is never ready',
      4 * hour,
      { outcome: only('analyze', (at) => (at >= begin ? 'partial' : 'succeeded')) },
      [
        [begin + 2 * i - 60, 'SchedulerTaskStale'],
        [begin + 5 * i, 'SchedulerTaskStale', { labels: { task: 'analyze' } }],
      ],
    ),
    make('a task is paused', 6 * hour, { paused: (task, at) => task === 'statistics' && at >= begin }, [
      [5 * hour, 'SchedulerTaskStale'],
      [5 * hour, 'SchedulerTaskLate'],
    ]),
    make(
      'a task is due and does not start',
      4 * hour,
      { outcome: only('statistics', (at) => (at >= begin ? 'waits' : 'succeeded')) },
      [
        [begin + 2 * i, 'SchedulerTaskLate'],
        [
          begin + 4 * i + between,
          'SchedulerTaskLate',
          { labels: { task: 'statistics' }, value: of5or15('20m 58s', '1h 0m 58s') },
        ],
      ],
    ),
    make(
      'killmails wait for longer than the service level',
      5 * hour,
      { late: from(begin, 12, 0), lagP95: from(begin, 400, 40) },
      [
        [begin + 30 * 60, 'SchedulerClusterLate'],
        [begin + 80 * 60, 'SchedulerClusterLate', { value: '12' }],
        [begin + 30 * 60, 'SchedulerClusterSlow'],
        [begin + 80 * 60, 'SchedulerClusterSlow', { value: '6m 40s' }],
        [begin + 150 * 60, 'SchedulerClusterBacklogGrowing'],
      ],
    ),
    make('late killmails become more', 7 * hour, { late: (at) => (at < begin ? 0 : Math.round(at / 60)) }, [
      [begin + 2 * hour, 'SchedulerClusterBacklogGrowing'],
      [begin + 4 * hour, 'SchedulerClusterBacklogGrowing', {}],
    ]),
    make('late killmails become fewer', 7 * hour, { late: (at) => (at < begin ? 0 : 1000 - Math.round(at / 60)) }, [
      [begin + 4 * hour, 'SchedulerClusterBacklogGrowing'],
    ]),
    make(
      'retention stands aside and leaves rows',
      5 * hour,
      {
        throttled: from(begin, 1, 0),
        backlogRows: from(begin, { killmails: 100, battles: 0 }, { killmails: 0, battles: 0 }),
      },
      [
        [begin + hour, 'SchedulerRetentionThrottled'],
        [begin + 2.5 * hour, 'SchedulerRetentionThrottled', { labels: { reason: 'replica-lag' } }],
      ],
    ),
    make('retention stood aside and leaves nothing', 5 * hour, { throttled: from(begin, 1, 0) }, [
      [begin + 2.5 * hour, 'SchedulerRetentionThrottled'],
    ]),
    make('there is no new good backup', 4 * hour, { backupAge: from(begin, 27 * hour, 25 * hour) }, [
      [begin - 60, 'SchedulerBackupTooOld'],
      [begin + hour, 'SchedulerBackupTooOld', { value: '1d 2h 59m 58s' }],
    ]),
    make('alerts wait', 4 * hour, { undelivered: from(begin, 3, 0) }, [
      [begin + 30 * 60, 'SchedulerAlertsUndelivered'],
      [begin + 80 * 60, 'SchedulerAlertsUndelivered', {}],
    ]),
    make('alerts are refused, once', 4 * hour, { deadLetters: from(begin, 2, 0) }, [
      [begin - i, 'SchedulerAlertsUndelivered'],
      [begin + 2 * i, 'SchedulerAlertsUndelivered', {}],
      [begin + 80 * 60 + between, 'SchedulerAlertsUndelivered'],
    ]),
    ...['cache', 'statistics'].map((task) => {
      const alert = `Scheduler${task[0].toUpperCase()}${task.slice(1)}Failing`
      return make(
        `every second run of ${task} fails`,
        6 * hour,
        { outcome: only(task, (_, tries) => (tries % 2 === 0 ? 'failed' : 'succeeded')) },
        [
          [(task === 'cache' ? 2.5 : 1.25) * hour, alert],
          [5 * hour + between, alert, { labels: { task }, value: task === 'cache' ? '5' : '10' }],
          [5 * hour, 'SchedulerTaskFailing'],
        ],
      )
    }),
  ]
}

/** As long as the last look at it wants, without the tasks that it is not about. */
function upkeepCase(name, minutes, behaviour, hears) {
  const last = Math.max(...hears.map(([at]) => at))
  const made = testCase(name, minutes, last + hour, behaviour, hears)
  const isOurs = ({ series }) => !series.includes('task=') || /task="(reindex|vacuum)"/.test(series)
  return { ...made, input_series: made.input_series.filter(isOurs) }
}

/** What takes days, in a file of its own, for whose rules a look every hour is enough. */
function longCasesAt(minutes) {
  return [
    testCase('nothing comes any more', minutes, 28 * hour, { runs: (at) => at <= 2 * hour }, [
      [20 * hour, 'SchedulerRunMissing', { value: '18h 0m 2s' }],
      [20 * hour, 'SchedulerMetricsMissing'],
      [27 * hour, 'SchedulerMetricsMissing', { labels: 'none' }],
    ]),
    testCase(
      'retention does not keep up with one of two policies',
      minutes,
      29 * hour,
      { backlogRows: (at) => ({ killmails: 1000 + Math.floor(at / hour), battles: 9000 - Math.floor(at / hour) }) },
      [
        [20 * hour, 'SchedulerRetentionBacklogGrowing'],
        [28 * hour, 'SchedulerRetentionBacklogGrowing', { labels: { policy: 'killmails' } }],
      ],
    ),
    // Known from the first run on that the task makes, at 04:00; the next night's is the second.
    upkeepCase(
      'three relations are due for VACUUM, one of them is held back',
      minutes,
      { vacuumDue: from(4 * hour, 3, 0), vacuumHeldBack: from(4 * hour, 1, 0) },
      [
        [28 * hour, 'SchedulerVacuumHeldBack'],
        [31 * hour, 'SchedulerVacuumHeldBack', { value: '1' }],
        [28 * hour, 'SchedulerVacuumBehind'],
        [31 * hour, 'SchedulerVacuumBehind', { value: '2' }],
      ],
    ),
    upkeepCase(
      'all that is due for VACUUM is held back, in one night of two',
      minutes,
      { vacuumDue: from(4 * hour, 1, 0), vacuumHeldBack: (at) => (at >= 4 * hour && at < 28 * hour ? 1 : 0) },
      [
        [27 * hour, 'SchedulerVacuumBehind'],
        [31 * hour, 'SchedulerVacuumHeldBack'],
        [31 * hour, 'SchedulerVacuumBehind'],
      ],
    ),
    upkeepCase('indexes stay bloated', minutes, { indexesBloated: from(5 * hour, 2, 0) }, [
      [52 * hour, 'SchedulerIndexesBloated'],
      [56 * hour, 'SchedulerIndexesBloated', { value: '2' }],
    ]),
    upkeepCase(
      'more indexes are bloated than a night rebuilds',
      minutes,
      { indexesBloated: from(5 * hour, 9, 0), indexesRebuilt: (at) => 2 * Math.floor(at / day) },
      [[56 * hour, 'SchedulerIndexesBloated']],
    ),
  ]
}

/** Of every task, so that it also says that one which skips itself is not stale: cluster. */
const neverSucceeded = testCase(
  'a task has never succeeded, another skips itself',
  15,
  53 * hour,
  { outcome: only('retention', () => 'partial') },
  [
    [30 * hour, 'SchedulerTaskStale'],
    [52 * hour, 'SchedulerTaskStale', { labels: { task: 'retention' } }],
  ],
  ['cluster'],
)

/** Its gauges stay as they were, for ever. */
const takenOut = upkeepCase(
  'vacuum was taken out, with relations due',
  15,
  { vacuumDue: () => 2, paused: (task, at) => task === 'vacuum' && at > 5 * hour },
  [
    [50 * hour, 'SchedulerVacuumBehind', { value: '2' }],
    [7.5 * day, 'SchedulerVacuumBehind'],
  ],
)

/** JSON is YAML, and a line for each series and each expectation keeps changes readable. */
function yaml(evaluationInterval, cases) {
  const list = (test, key) => [`    ${key}:`, ...test[key].map((each) => `      - ${JSON.stringify(each)}`)]
  return [
    '# Generated by `node infra/scripts/make-rule-tests.mjs`: change the cases there.',
    'rule_files: [scheduler.rules.yaml]',
    `evaluation_interval: ${evaluationInterval}`,
    '# prettier-ignore',
    'tests:',
    ...cases.flatMap((test) => [
      `  - name: ${JSON.stringify(test.name)}`,
      `    interval: ${test.interval}`,
      ...list(test, 'input_series'),
      ...list(test, 'alert_rule_test'),
    ]),
    '',
  ].join('\n')
}

/** File name → text. */
export const ruleTests = {
  'scheduler.rules.test.yaml': yaml('1m', [...casesAt(5), ...casesAt(15)]),
  'scheduler.rules.days.test.yaml': yaml('1h', [...longCasesAt(5), ...longCasesAt(15), neverSucceeded, takenOut]),
}
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of Object.entries(ruleTests)) writeFileSync(join(folder, name), text)
}
