import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  configurationJsonSchema,
  deriveOptions,
  environmentName,
  isKubernetesServiceVariable,
  optionTable,
  taskSection,
} from '../../src/configuration/index.js'
import { duration, secret } from '../../src/option-types.js'
import { program, retention, sections } from './sections.js'

describe('derived names', () => {
  it.each([
    [['budget'], 'BUDGET'],
    [['retention', 'batchSize'], 'RETENTION_BATCH_SIZE'],
    [['alerts', 'pagerduty', 'routingKey'], 'ALERTS_PAGERDUTY_ROUTING_KEY'],
    [['cache-warmer', 's3Bucket'], 'CACHE_WARMER_S3_BUCKET'],
    [['loot', 'esiURL'], 'LOOT_ESI_URL'],
    [['loot', 'URLList'], 'LOOT_URL_LIST'],
  ])('%j → %s', (keys, name) => expect(environmentName(keys)).toBe(name))

  it('of every option, once', () => {
    const { options, problems } = deriveOptions(sections)
    expect(problems).toEqual([])
    expect(options.map(({ path, environment, environmentFile }) => [path, environment, environmentFile])).toEqual([
      ['databaseUrl', 'DATABASE_URL', 'DATABASE_URL_FILE'],
      ['logLevel', 'LOG_LEVEL', undefined],
      ['budget', 'SCHEDULER_BUDGET', undefined],
      ['expectedInterval', 'SCHEDULER_EXPECTED_INTERVAL', undefined],
      [
        'alerts.pagerduty.routingKey',
        'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY',
        'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY_FILE',
      ],
      ['alerts.pagerduty.url', 'SCHEDULER_ALERTS_PAGERDUTY_URL', undefined],
      ['retention.schedule', 'SCHEDULER_RETENTION_SCHEDULE', undefined],
      ['retention.timeout', 'SCHEDULER_RETENTION_TIMEOUT', undefined],
      ...['batchSize', 'keep', 'relations', 'pauses', 'dryRun', 'when', 'ratio', 'memory', 'perTable'].map((key) => [
        `retention.${key}`,
        `SCHEDULER_RETENTION_${environmentName([key])}`,
        undefined,
      ]),
    ])
  })

  it.each([
    [
      'two spellings',
      [{ name: 'a', schema: z.object({ batchSize: z.int().default(1), batch_size: z.int().default(1) }) }],
      ['a.batch_size'],
    ],
    [
      'a section that continues another',
      [
        { name: 'cache', schema: z.object({ warmerSize: z.int().default(1) }) },
        { name: 'cache-warmer', schema: z.object({ size: z.int().default(1) }) },
      ],
      ['SCHEDULER_CACHE_WARMER_SIZE', "'cache.warmerSize' and 'cache-warmer.size'"],
    ],
    [
      "a secret's file",
      [{ name: 'a', schema: z.object({ key: secret().optional(), keyFile: z.string().optional() }) }],
      ['SCHEDULER_A_KEY_FILE', "'a.key' and 'a.keyFile'"],
    ],
    [
      'an explicit variable',
      [
        {
          schema: z.object({
            one: z.string().default('').meta({ env: 'X' }),
            two: z.string().default('').meta({ env: 'X' }),
          }),
        },
      ],
      ['X', "'one' and 'two'"],
    ],
    [
      'an option of the program and a section',
      [{ name: 'budget', schema: z.object({}) }, program],
      ['budget', "'budget' and 'budget'"],
    ],
    ['one section twice', [retention, retention], ['retention']],
    [
      'a name that every task has',
      [{ ...retention, schema: z.object({ schedule: z.string() }) }],
      ['retention.schedule', 'every task has'],
    ],
    ['a section name', [{ name: '__proto__', schema: z.object({}) }], ['__proto__', 'kebab-case']],
  ])('%s: one problem that names both', (_, given, parts) => {
    const { problems } = deriveOptions(given)
    expect(problems).toHaveLength(1)
    for (const part of parts) expect(JSON.stringify(problems[0])).toContain(part)
  })
})

describe('variables that Kubernetes sets', () => {
  it.each([
    'SCHEDULER_SERVICE_HOST',
    'SCHEDULER_SERVICE_PORT',
    'SCHEDULER_SERVICE_PORT_HTTP_METRICS',
    'SCHEDULER_PORT',
    'SCHEDULER_PORT_80_TCP',
    'SCHEDULER_PORT_80_TCP_PROTO',
    'SCHEDULER_PORT_80_TCP_PORT',
    'SCHEDULER_PORT_53_UDP_ADDR',
    'SCHEDULER_POSTGRES_RW_SERVICE_HOST',
    'SCHEDULER_POSTGRES_RW_PORT_5432_TCP_ADDR',
  ])('%s', (name) => expect(isKubernetesServiceVariable(name)).toBe(true))

  it.each(['SCHEDULER_BUDGET', 'SCHEDULER_RETENTION_SERVICE', 'SCHEDULER_EXPORT', 'SCHEDULER_PORT_X'])(
    'not %s',
    (name) => expect(isKubernetesServiceVariable(name)).toBe(false),
  )
})

describe('the section of a task', () => {
  it('has the options that every task has, with its own defaults', () => {
    const section = taskSection({
      name: 'analyze',
      description: 'Refreshes statistics.',
      schedule: { kind: 'interval', everyMs: 1_800_000, windowMs: 60_000 },
      timeoutMs: 25_000,
      configSchema: z.object({}),
    })
    const table = optionTable(section)
    expect(table).toContain('| `analyze.schedule` | `SCHEDULER_ANALYZE_SCHEDULE` |')
    expect(table).toContain('| `every 30m window 1m` |')
    expect(table).toContain('| `25s` |')
  })
})

describe('the table of options', () => {
  it('has names, what is allowed, the default and the meaning', () => {
    const rows = optionTable(retention).split('\n')
    expect(rows[0]).toBe('| option | environment | allowed | default | meaning |')
    expect(rows).toContain(
      '| `retention.batchSize` | `SCHEDULER_RETENTION_BATCH_SIZE` | a whole number, at least 1, at most 10000 | `1000` | Rows per statement. |',
    )
    expect(rows).toContain(
      "| `retention.when` | `SCHEDULER_RETENTION_WHEN` | one of 'changed', 'always' | `changed` | When to act. |",
    )
  })

  it('never breaks out of a cell', () => {
    const table = optionTable({
      name: 'a',
      schema: z.object({ b: z.enum(['x|y']).default('x|y').describe('one\ntwo | three') }),
    })
    expect(table.trimEnd().split('\n')).toHaveLength(3)
    expect(table).toContain("'x\\|y'")
    expect(table).toContain('one two \\| three')
  })

  it('shows no default of a secret', () => {
    const table = optionTable({ name: 'a', schema: z.object({ b: secret().default('hunter2hunter2') }) })
    expect(table).toContain('`********`')
    expect(table).not.toContain('hunter2')
  })
})

describe('the JSON Schema of the file', () => {
  const json = configurationJsonSchema(sections) as {
    properties: Record<string, { properties: Record<string, unknown> }>
  }

  it('admits the known names alone, on every level', () => {
    const objects = [
      json.properties['retention'],
      json.properties['alerts'],
      json.properties['alerts']?.properties['pagerduty'],
    ]
    // Beside them the sections of third-party tasks, which are objects; a mistyped option is none.
    expect(json).toMatchObject({ type: 'object', additionalProperties: { type: ['object', 'null'] } })
    for (const object of objects) expect(object).toMatchObject({ type: 'object', additionalProperties: false })
    expect(Object.keys(json.properties)).toEqual(['logLevel', 'budget', 'expectedInterval', 'alerts', 'retention'])
  })

  it('writes types and defaults in the form of the file', () => {
    expect(json.properties['expectedInterval']).toMatchObject({ type: 'string', default: '5m' })
    expect(json.properties['retention']?.properties['schedule']).toMatchObject({ type: 'string', default: '0 2 * * *' })
    expect(json.properties['retention']?.properties['batchSize']).toEqual({
      description: 'Rows per statement.',
      type: 'integer',
      minimum: 1,
      maximum: 10_000,
      default: 1000,
    })
    expect(json.properties['alerts']?.properties['pagerduty']).toMatchObject({
      properties: { routingKey: { writeOnly: true } },
    })
  })

  it('has no keywords of our own, and survives schemas that JSON Schema cannot say', () => {
    expect(JSON.stringify(json)).not.toMatch(/"(optionType|allowed|secret|env|file)":/)
    const lazy: z.ZodType = z.lazy(() => z.object({ inner: lazy.optional() }))
    const node = z.object({
      get next() {
        return node.optional()
      },
    })
    const schema = z.object({
      lazy: lazy.optional(),
      node: node.optional(),
      list: z.array(duration()).default([5000]),
      any: z.custom<string>(),
    })
    const odd = { name: 'a', schema }
    expect(configurationJsonSchema([odd])).toMatchObject({
      properties: { a: { properties: { list: { default: ['5s'] }, any: {} } } },
    })
  })
})
