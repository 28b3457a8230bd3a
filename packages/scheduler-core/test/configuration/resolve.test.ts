import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  ConfigurationError,
  formatProblems,
  resolveConfiguration,
  secretFilesToRead,
  type ConfigurationInput,
  type Section,
} from '../../src/configuration/index.js'
import { duration, secret } from '../../src/option-types.js'
import { databaseUrl, environment, program, retention, sections } from './sections.js'

const resolve = (input: Partial<ConfigurationInput> = {}) => resolveConfiguration({ sections, environment, ...input })
const withEnvironment = (more: Record<string, string>, input: Partial<ConfigurationInput> = {}) =>
  resolve({ environment: { ...environment, ...more }, ...input })
const optionOf = (resolved: ReturnType<typeof resolve>, path: string) =>
  resolved.options.find((option) => option.path === path)

describe('without anything but what is required', () => {
  const resolved = resolve()

  it('everything has its default', () => {
    expect(resolved.problems).toEqual([])
    expect(resolved.program).toEqual({
      databaseUrl,
      logLevel: 'info',
      budget: 40_000,
      expectedInterval: 300_000,
      alerts: {},
    })
    expect(resolved.sections['retention']).toMatchObject({
      batchSize: 1000,
      keep: { months: 60, days: 0 },
      memory: 16_777_216,
    })
    expect(resolved.taskOptions).toEqual({
      retention: { schedule: { kind: 'cron', expression: '0 2 * * *', timezone: 'UTC' }, timeoutMs: 30_000 },
    })
  })

  it('everything is frozen', () => {
    const values = [resolved.program, resolved.program['alerts'], resolved.sections, resolved.sections['retention']]
    const nested = [resolved.sections['retention']?.['relations'], resolved.taskOptions['retention']?.schedule]
    for (const value of [...values, ...nested]) expect(Object.isFrozen(value)).toBe(true)
  })

  it('the report has value, source and default in the form of the file', () => {
    expect(optionOf(resolved, 'expectedInterval')).toEqual({
      path: 'expectedInterval',
      environment: 'SCHEDULER_EXPECTED_INTERVAL',
      source: 'default',
      value: '5m',
      default: '5m',
      description: 'How often something starts it.',
      secret: false,
    })
    expect(optionOf(resolved, 'retention.schedule')).toMatchObject({ section: 'retention', value: '0 2 * * *' })
    expect(optionOf(resolved, 'databaseUrl')).toMatchObject({
      source: 'environment',
      value: 'postgres://keeper:********@db.internal:5432/battlescope',
      secret: true,
    })
  })
})

describe('text from the environment', () => {
  it.each<[string, string, string, unknown]>([
    ['BATCH_SIZE', ' 25 ', 'batchSize', 25],
    ['BATCH_SIZE', '1e3', 'batchSize', 1000],
    ['DRY_RUN', 'true', 'dryRun', true],
    ['DRY_RUN', 'false', 'dryRun', false],
    ['RATIO', '0.25', 'ratio', 0.25],
    ['WHEN', ' always ', 'when', 'always'],
    ['RELATIONS', 'public.a, public.b ,', 'relations', ['public.a', 'public.b']],
    ['RELATIONS', ' ["with, comma"]', 'relations', ['with, comma']],
    ['PAUSES', '1s, 2m', 'pauses', [1000, 120_000]],
    ['KEEP', 'false', 'keep', false],
    ['KEEP', '7 days', 'keep', { months: 0, days: 7 }],
    ['PER_TABLE', '{"public.a": 5}', 'perTable', { 'public.a': 5 }],
    ['MEMORY', ' 1MiB ', 'memory', 1_048_576],
  ])('SCHEDULER_RETENTION_%s=%s', (name, text, key, value) => {
    const resolved = withEnvironment({ [`SCHEDULER_RETENTION_${name}`]: text })
    expect(resolved.problems).toEqual([])
    expect(resolved.sections['retention']?.[key]).toEqual(value)
    expect(optionOf(resolved, `retention.${key}`)?.source).toBe('environment')
  })

  it('is unset when it is empty', () => {
    const resolved = withEnvironment({
      SCHEDULER_BUDGET: '',
      SCHEDULER_NO_SUCH: '',
      SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY_FILE: '',
    })
    expect(resolved.problems).toEqual([])
    expect(optionOf(resolved, 'budget')).toMatchObject({ source: 'default', value: '40s' })
  })

  it.each<[string, string, object]>([
    [
      'SCHEDULER_BUDGET',
      '40',
      {
        given: "'40'",
        expected: 'a duration such as 500ms, 55s, 5m, 2h or 1d',
        hint: expect.stringContaining("'40s'"),
      },
    ],
    ['SCHEDULER_BUDGET', '5 min', { given: "'5 min'", hint: "write '5m'" }],
    ['SCHEDULER_RETENTION_MEMORY', '64Mi', { hint: "write '64MiB' (powers of 1024) or '64MB' (powers of 1000)" }],
    ['SCHEDULER_RETENTION_MEMORY', '2GiB', { given: "'2GiB'", expected: expect.stringContaining('at most 1GiB') }],
    ['SCHEDULER_RETENTION_KEEP', '60', { hint: "write the unit: '60 days', '60 months' or '60 years'" }],
    ['SCHEDULER_RETENTION_KEEP', 'true', { expected: expect.stringMatching(/^false, or a calendar period/) }],
    ['SCHEDULER_RETENTION_SCHEDULE', '30s', { hint: "for an interval write 'every 30s'" }],
    ['SCHEDULER_RETENTION_TIMEOUT', '10ms', { expected: expect.stringContaining('at least 1s') }],
    ['SCHEDULER_RETENTION_WHEN', 'sometimes', { given: "'sometimes'", expected: "one of 'changed', 'always'" }],
    ['SCHEDULER_RETENTION_DRY_RUN', 'yes', { given: "'yes'", expected: 'true or false' }],
    [
      'SCHEDULER_RETENTION_BATCH_SIZE',
      '1.5',
      { given: "'1.5'", expected: 'a whole number, at least 1, at most 10000' },
    ],
    ['SCHEDULER_RETENTION_BATCH_SIZE', '0x10', { given: "'0x10'" }],
    ['SCHEDULER_RETENTION_BATCH_SIZE', 'Infinity', { given: "'Infinity'" }],
    ['SCHEDULER_RETENTION_PER_TABLE', '{a: 1}', { given: "'{a: 1}'", hint: expect.stringContaining('JSON') }],
    ['SCHEDULER_RETENTION_RELATIONS', '["a"', { given: '\'["a"\'', expected: expect.stringContaining('commas') }],
    ['LOG_LEVEL', 'verbose', { given: "'verbose'", expected: "one of 'debug', 'info', 'warn'" }],
  ])('%s=%s is refused', (name, text, problem) => {
    const resolved = withEnvironment({ [name]: text })
    expect(resolved.problems).toEqual([expect.objectContaining({ path: name, ...problem })])
    // Nothing half-right may be used by mistake.
    const isOfTask = /_(SCHEDULE|TIMEOUT)$/.test(name)
    const values = isOfTask ? resolved.taskOptions : name.includes('RETENTION') ? resolved.sections : resolved.program
    expect(values).toEqual({})
  })

  it('names the entry of a list', () => {
    expect(withEnvironment({ SCHEDULER_RETENTION_PAUSES: '1s,2' }).problems).toMatchObject([
      { path: 'SCHEDULER_RETENTION_PAUSES[1]', given: "'2'" },
    ])
  })
})

describe('schemas of every kind', () => {
  const nested: z.ZodType = z.lazy(() => z.union([z.array(nested), z.string()]))
  const schema = z.object({
    nested: nested.optional(),
    tuple: z.tuple([z.string(), z.int()]).optional(),
    size: z.bigint().optional(),
    mode: z.literal([1, 'auto']).optional(),
    off: z.int().nullable().optional(),
    before: z.preprocess((value) => value ?? 3, z.int().describe('A number.')),
    pattern: z
      .string()
      .transform((text) => new RegExp(text))
      .prefault('a+'),
    group: z.object({ a: z.int().default(1), b: z.int().default(2) }).prefault({ a: 5 }),
    lists: z.array(z.array(z.int())).optional(),
  })
  const resolveOne = (variables: Record<string, string>) =>
    resolveConfiguration({ sections: [{ name: 'x', schema }], environment: variables })

  it.each<[string, string, string, unknown]>([
    ['NESTED', 'a,b', 'nested', ['a', 'b']],
    ['NESTED', 'a', 'nested', ['a']],
    ['TUPLE', 'a, 5', 'tuple', ['a', 5]],
    ['SIZE', '12345678901234567890', 'size', 12345678901234567890n],
    ['MODE', '1', 'mode', 1],
    ['MODE', 'auto', 'mode', 'auto'],
    ['OFF', 'null', 'off', null],
    ['OFF', '4', 'off', 4],
    ['BEFORE', '4', 'before', 4],
    ['PATTERN', 'b', 'pattern', /b/],
    ['LISTS', '[[1],[2]]', 'lists', [[1], [2]]],
    ['GROUP_B', '7', 'group', { a: 1, b: 7 }],
    ['UNSET', '', 'group', { a: 5, b: 2 }],
  ])('SCHEDULER_X_%s=%s', (name, text, key, value) => {
    const resolved = resolveOne({ [`SCHEDULER_X_${name}`]: text })
    expect(resolved.problems).toEqual([])
    expect(resolved.sections['x']?.[key]).toEqual(value)
    expect(() => JSON.stringify(resolved.options)).not.toThrow()
  })

  it.each([
    ['LISTS', '1,2', 'SCHEDULER_X_LISTS[0]'],
    ['TUPLE', 'a', 'SCHEDULER_X_TUPLE'],
    ['SIZE', '1.5', 'SCHEDULER_X_SIZE'],
    ['MODE', 'manual', 'SCHEDULER_X_MODE'],
  ])('SCHEDULER_X_%s=%s is refused', (name, text, path) => {
    expect(resolveOne({ [`SCHEDULER_X_${name}`]: text }).problems[0]).toMatchObject({ path })
  })

  it.each([
    [
      'that throw',
      z.string().transform(() => {
        throw new Error('no')
      }),
    ],
    ['that are asynchronous', z.string().refine(async () => Promise.resolve(true))],
    [
      'whose default throws',
      z.string().default(() => {
        throw new Error('no')
      }),
    ],
  ])('%s are a problem of their section, and no other', (_, broken) => {
    const other: Section = { name: 'fine', schema: z.object({ a: z.int().default(1) }) }
    const environment = broken instanceof z.ZodDefault ? {} : { SCHEDULER_X_B: 'x' }
    const resolved = resolveConfiguration({
      sections: [{ name: 'x', schema: z.object({ b: broken }) }, other],
      environment,
    })
    expect(resolved.problems).toMatchObject([{ path: 'x', expected: 'a schema that can check the options' }])
    expect(resolved.sections).toEqual({ fine: { a: 1 } })
  })
})

describe('what is missing', () => {
  it('names every way to give it', () => {
    expect(resolve({ environment: {} }).problems).toEqual([
      {
        path: 'DATABASE_URL',
        expected: 'a value: text, matching ^postgres(ql)?:\\/\\/',
        hint: 'set DATABASE_URL, or DATABASE_URL_FILE',
      },
    ])
  })

  it('notices a slip in a name without our prefix', () => {
    const { problems } = resolve({ environment: { DATABSE_URL: databaseUrl } })
    expect(problems[0]?.hint).toContain("the environment has 'DATABSE_URL'")
    expect(JSON.stringify(problems)).not.toContain('correct-horse')
  })

  it('asks for the rest of a group that was begun', () => {
    const { problems } = withEnvironment({ SCHEDULER_ALERTS_PAGERDUTY_URL: 'https://x.example.org' })
    expect(problems).toMatchObject([
      {
        path: 'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY',
        hint: expect.stringContaining("'alerts.pagerduty.routingKey' in the configuration file"),
      },
    ])
    expect(resolve({ file: { alerts: { pagerduty: {} } } }).problems).toHaveLength(1)
  })
})

describe('unknown names', () => {
  it.each([
    [{ SCHEDULER_BUGDET: '1s' }, { path: 'SCHEDULER_BUGDET', hint: "did you mean 'SCHEDULER_BUDGET'?" }],
    [{ SCHEDULER_RETENTION_BATCHSIZE: '1' }, { hint: "did you mean 'SCHEDULER_RETENTION_BATCH_SIZE'?" }],
    [{ SCHEDULER_BUDGET_FILE: '/x' }, { hint: 'only secrets have a variable that names a file' }],
    [{ SCHEDULER_SOMETHING_ELSE_ENTIRELY: 'x' }, { expected: 'a variable of an option' }],
  ])('%j', (variables, problem) => {
    expect(withEnvironment(variables).problems).toEqual([expect.objectContaining(problem)])
  })

  it.each<[object, object]>([
    [{ retentoin: {} }, { path: 'retentoin', hint: "did you mean 'retention'?" }],
    [{ batchSize: 5 }, { path: 'batchSize', hint: "did you mean 'retention.batchSize'?" }],
    [{ retention: { batchsize: 5 } }, { path: 'retention.batchsize', hint: "did you mean 'batchSize'?" }],
    [{ alerts: { pagerdutty: {} } }, { path: 'alerts.pagerdutty', hint: "did you mean 'pagerduty'?" }],
    [{ databaseUrl }, { path: 'databaseUrl', hint: 'set DATABASE_URL in the environment' }],
  ])('in the file: %j', (file, problem) => {
    expect(resolve({ file }).problems).toEqual([expect.objectContaining(problem)])
  })

  it('as a flag', () => {
    expect(resolve({ flags: { bugdet: '1s' } }).problems).toMatchObject([
      { path: '--bugdet', hint: "did you mean 'budget'?" },
    ])
  })

  it('are ignored when Kubernetes set them, unless they are options', () => {
    const variables = {
      SCHEDULER_SERVICE_HOST: '10.0.0.1',
      SCHEDULER_PORT: 'tcp://10.0.0.1:80',
      SCHEDULER_PORT_80_TCP_ADDR: '10.0.0.1',
    }
    expect(withEnvironment(variables).problems).toEqual([])
    const metrics: Section = { schema: z.object({ port: z.int().default(9000) }) }
    expect(resolveConfiguration({ sections: [metrics], environment: variables }).problems).toMatchObject([
      { path: 'SCHEDULER_PORT' },
    ])
  })

  it('may belong to tasks that are not loaded yet', () => {
    const resolved = withEnvironment(
      {
        SCHEDULER_LOOT_MIN_VALUE: '1',
        SCHEDULER_RETENTION_AUDIT_DAYS: '1',
        SCHEDULER_RETENTION_BATCH_SIZES: '1',
        SCHEDULER_RETENTION_BOGUS: '1',
        SCHEDULER_BOGUS: '1',
      },
      { allowUnknown: true, file: { loot: { minValue: 1 }, bogus: 1, 'retention-audit': null } },
    )
    expect(resolved.unclaimed).toEqual([
      'loot',
      'retention-audit',
      'SCHEDULER_LOOT_MIN_VALUE',
      'SCHEDULER_RETENTION_AUDIT_DAYS',
    ])
    expect(resolved.problems.map(({ path }) => path)).toEqual([
      'bogus',
      'SCHEDULER_BOGUS',
      'SCHEDULER_RETENTION_BATCH_SIZES',
      'SCHEDULER_RETENTION_BOGUS',
    ])
  })
})

describe('the file', () => {
  it('gives values, with sections left empty', () => {
    const resolved = resolve({ file: { budget: '20s', alerts: null, retention: { batchSize: 5, timeout: '1m' } } })
    expect(resolved.problems).toEqual([])
    expect(resolved.program['budget']).toBe(20_000)
    expect(resolved.sections['retention']).toMatchObject({ batchSize: 5 })
    expect(resolved.taskOptions['retention']?.timeoutMs).toBe(60_000)
  })

  it.each<[string, unknown, object]>([
    [
      'a number for a duration',
      { budget: 40 },
      { path: 'budget', given: '40', hint: expect.stringContaining("'40s'") },
    ],
    ['a quoted number', { retention: { batchSize: '5' } }, { given: "'5'", hint: 'leave out the quotes' }],
    ['text for a list', { retention: { relations: 'a' } }, { hint: "write a list: ['a', 'b']" }],
    [
      'a number in a list of texts',
      { retention: { relations: [1] } },
      { path: 'retention.relations[0]', hint: "put quotes around it: '1'" },
    ],
    ['null for a value', { retention: { batchSize: null } }, { given: 'null' }],
    ['a mapping for a value', { retention: { batchSize: { x: 1 } } }, { given: 'a mapping' }],
    ['an entry of a mapping', { retention: { perTable: { a: 'x' } } }, { path: 'retention.perTable.a', given: "'x'" }],
    [
      'text for a section',
      { retention: 'x' },
      { path: 'retention', given: 'a string', expected: 'a mapping of options to values' },
    ],
    ['a list as the file', [1], { path: 'the configuration file', given: 'a list' }],
    ['text as the file', 'x', { path: 'the configuration file', given: 'a string' }],
  ])('%s is refused', (_, file, problem) =>
    expect(resolve({ file }).problems).toEqual([expect.objectContaining(problem)]),
  )

  it('is named with the line', () => {
    const lineOf = (keys: readonly PropertyKey[]) => (keys.join('.') === 'retention.batchSize' ? 12 : undefined)
    const file = { retention: { batchSize: 0, ratio: 2 } }
    expect(resolve({ file, fileName: 'scheduler.yaml', lineOf }).problems).toMatchObject([
      { path: 'retention.batchSize', location: 'scheduler.yaml:12' },
      { path: 'retention.ratio', location: 'scheduler.yaml' },
    ])
  })

  it('cannot change prototypes', () => {
    const file: unknown = JSON.parse(
      '{"__proto__": {"budget": "1s"}, "retention": {"__proto__": {"batchSize": 5}, "perTable": {"__proto__": {"x": 1}}}, "constructor": {"prototype": {"x": 1}}}',
    )
    const resolved = resolve({ file })
    expect(resolved.problems.map(({ path }) => path).sort()).toEqual([
      '__proto__',
      'constructor',
      'retention.__proto__',
      'retention.perTable',
    ])
    expect(resolved.program['budget']).toBe(40_000)
    expect(Object.keys(Object.prototype)).toEqual([])
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
  })

  it('is no safer as JSON in a variable', () => {
    expect(withEnvironment({ SCHEDULER_RETENTION_PER_TABLE: '{"__proto__":{"x":1}}' }).problems).toMatchObject([
      { path: 'SCHEDULER_RETENTION_PER_TABLE', expected: "no entry named '__proto__'" },
    ])
  })

  it('may be deep, circular or large without harm', () => {
    const circular: Record<string, unknown> = {}
    circular['a'] = circular
    let deep: unknown = 1
    for (let level = 0; level < 5000; level += 1) deep = [deep]
    for (const perTable of [circular, deep, Array.from({ length: 200_000 }, () => 1)]) {
      expect(resolve({ file: { retention: { perTable } } }).problems).toHaveLength(1)
    }
  })

  it('is not kept: changing it later changes nothing', () => {
    const relations = ['public.a']
    const resolved = resolve({ file: { retention: { relations } } })
    relations.push('public.b')
    expect(resolved.sections['retention']?.['relations']).toEqual(['public.a'])
  })
})

describe('secrets', () => {
  const key = 'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY'

  it('come from files that the caller reads', () => {
    const variables = {
      [`${key}_FILE`]: '/run/secrets/key',
      DATABASE_URL_FILE: '/run/secrets/url',
      DATABASE_URL: databaseUrl,
    }
    expect(secretFilesToRead(sections, variables)).toEqual([{ environment: `${key}_FILE`, path: '/run/secrets/key' }])
    const secretFiles = new Map([['/run/secrets/key', { content: 'from-a-file\r\n\n' }]])
    const resolved = withEnvironment({ [`${key}_FILE`]: '/run/secrets/key' }, { secretFiles })
    expect(resolved.program['alerts']).toEqual({
      pagerduty: { routingKey: 'from-a-file', url: 'https://events.example.org' },
    })
    expect(optionOf(resolved, 'alerts.pagerduty.routingKey')).toMatchObject({
      source: 'environment file',
      value: '********',
    })
  })

  it.each([
    ['absent', { error: 'ENOENT: no such file' }, { given: "'/run/key'", hint: 'ENOENT: no such file' }],
    ['empty', { content: '\n' }, { hint: 'the file is empty' }],
    ['not read', undefined, { hint: 'the file was not read' }],
    ['wrong', { content: 'short7!' }, { expected: 'text, at least 8 characters' }],
  ])('whose file is %s are a problem', (_, file, problem) => {
    const secretFiles = new Map(file === undefined ? [] : [['/run/key', file]])
    const { problems } = withEnvironment({ [`${key}_FILE`]: '/run/key' }, { secretFiles })
    expect(problems).toEqual([expect.objectContaining({ path: `${key}_FILE`, ...problem })])
    expect(JSON.stringify(problems)).not.toContain('short7!')
  })

  it('may not be given twice', () => {
    expect(withEnvironment({ DATABASE_URL_FILE: '/run/url' }).problems).toEqual([
      {
        path: 'DATABASE_URL_FILE',
        expected: 'only one of DATABASE_URL and DATABASE_URL_FILE',
        hint: 'unset one of them',
      },
    ])
  })

  it('stay hidden when they are wrong, and when a schema quotes them', () => {
    const schema = z
      .object({
        token: secret().refine(() => false, { error: (issue) => `bad token ${String(issue.input)}` }),
        other: z.string().default('x'),
        tokens: z.record(z.string(), z.object({ key: secret() })).default({}),
      })
      .refine(() => false, { error: (issue) => `together: ${JSON.stringify(issue.input)}`, when: () => true })
    const file = { a: { token: 'hunter2-hunter2', tokens: { x: { key: 'open-sesame-1' } } } }
    const resolved = resolveConfiguration({ sections: [{ name: 'a', schema }], environment: {}, file })
    expect(resolved.problems.map(({ path }) => path).sort()).toEqual(['a', 'a.token'])
    expect(JSON.stringify(resolved)).not.toMatch(/hunter2|open-sesame/)
  })

  it('stay hidden when they are as short as words of ours', () => {
    const schema = z.object({
      pin: secret().refine(() => false, { error: (issue) => `no pin is ${String(issue.input)}` }),
    })
    const { problems } = resolveConfiguration({
      sections: [{ name: 'a', schema }],
      environment: { SCHEDULER_A_PIN: '%7' },
    })
    expect(problems).toEqual([{ path: 'SCHEDULER_A_PIN', expected: 'text' }])
  })

  it('stay hidden when a schema throws', () => {
    const schema = z.object({
      token: secret().transform((text) => {
        throw new Error(`cannot read ${text}`)
      }),
    })
    const resolved = resolveConfiguration({
      sections: [{ name: 'a', schema }],
      environment: { SCHEDULER_A_TOKEN: 'hunter2-'.repeat(100) },
    })
    expect(resolved.problems).toMatchObject([{ path: 'a' }])
    expect(JSON.stringify(resolved)).not.toContain('hunter2')
  })
})

describe('precedence', () => {
  it('flag over environment over file over default', () => {
    const layersOf = (count: number) =>
      resolve({
        file: count > 0 ? { budget: '1s' } : {},
        environment: { ...environment, ...(count > 1 ? { SCHEDULER_BUDGET: '2s' } : {}) },
        flags: count > 2 ? { budget: '3s' } : {},
      })
    const results = [0, 1, 2, 3].map((count) => optionOf(layersOf(count), 'budget'))
    expect(results.map((option) => [option?.source, option?.value, option?.flag])).toEqual([
      ['default', '40s', undefined],
      ['file', '1s', undefined],
      ['environment', '2s', undefined],
      ['flag', '3s', '--budget'],
    ])
  })

  it('names the source that won', () => {
    const { problems } = withEnvironment(
      { SCHEDULER_EXPECTED_INTERVAL: '1s' },
      { flags: { expectedInterval: '1' }, file: { expectedInterval: 3 } },
    )
    expect(problems).toMatchObject([{ path: '--expected-interval', given: "'1'" }])
  })

  it('a default of the section replaces that of the schema', () => {
    const section = { ...retention, defaults: { batchSize: 7 } }
    const resolved = resolveConfiguration({ sections: [section], environment: {} })
    expect(resolved.sections['retention']?.['batchSize']).toBe(7)
    expect(optionOf(resolved, 'retention.batchSize')).toMatchObject({ source: 'default', value: 7, default: 7 })
  })

  it('a wrong default is told from a wrong value', () => {
    const section = { name: 'a', schema: z.object({ every: duration().prefault('5') }) }
    expect(resolveConfiguration({ sections: [section], environment: {} }).problems).toMatchObject([
      { path: 'the default of a.every' },
    ])
  })
})

describe('all problems', () => {
  const input = {
    environment: { LOG_LEVEL: 'x', SCHEDULER_BUDGET: '4' },
    file: { retention: { ratio: 2, schedule: 'daily' }, bogus: 1 },
  }

  it('come at once, in the same order each time', () => {
    const paths = resolve(input).problems.map(({ path }) => path)
    expect(paths).toEqual([
      'bogus',
      'DATABASE_URL',
      'LOG_LEVEL',
      'SCHEDULER_BUDGET',
      'retention.ratio',
      'retention.schedule',
    ])
  })

  it('spare the sections that are right', () => {
    const resolved = resolve({
      ...input,
      sections: [program, retention, { name: 'fine', schema: z.object({ a: z.int().default(1) }) }],
    })
    expect(resolved.sections).toEqual({ fine: { a: 1 } })
    expect(resolved.program).toEqual({})
  })

  it('are one error of exit code 78', () => {
    const error = new ConfigurationError(resolve({ environment: { ...environment, SCHEDULER_BUDGET: '4' } }).problems)
    expect(error).toMatchObject({ code: 'configuration', exitCode: 78 })
    expect(error.message).toBe(
      [
        'the configuration has 1 problem',
        "  SCHEDULER_BUDGET: expected a duration such as 500ms, 55s, 5m, 2h or 1d; given '4'",
        "    hint: write the unit: '4ms', '4s', '4m', '4h' or '4d'",
      ].join('\n'),
    )
    expect(formatProblems([{ path: 'a', location: 'x.yaml:3', expected: 'b' }])).toContain('  a (x.yaml:3): expected b')
  })
})
