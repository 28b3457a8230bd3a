import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineTask } from '../../packages/scheduler-core/src/index.js'
import { generate, withTable } from './generate.js'

describe('withTable', () => {
  const readme = 'before\n<!-- options:start -->\nold\n<!-- options:end -->\nafter\n'

  it('replaces what is between the marks, and nothing else', () => {
    expect(withTable('README.md', readme, '| new |\n')).toBe(
      'before\n<!-- options:start -->\n\n| new |\n\n<!-- options:end -->\nafter\n',
    )
  })

  it('changes nothing the second time', () => {
    const once = withTable('README.md', readme, '| new |\n')
    expect(withTable('README.md', once, '| new |\n')).toBe(once)
  })

  it('refuses a README without marks', () => {
    expect(() => withTable('packages/task-x/README.md', '# x\n', '')).toThrow('packages/task-x/README.md needs a line')
  })
})

describe('generate', () => {
  const task = defineTask({
    apiVersion: 1,
    name: 'loot',
    description: 'removes old loot',
    schedule: { kind: 'interval', everyMs: 3_600_000 },
    timeoutMs: 30_000,
    configSchema: z.object({ batchSize: z.number().int().default(500).describe('Rows per statement.') }),
    requires: () => ({}),
    run: async () => ({ outcome: 'succeeded' }),
  })
  const files = generate(
    {
      program: {
        name: 'battlescope-scheduler',
        sections: [
          { schema: z.object({ grace: z.number().default(3).describe('Time to stop in.') }) },
          {
            name: 'cellar',
            description: 'where it is kept',
            schema: z.object({ url: z.string().default('file:///') }),
          },
        ],
        standardVariables: [{ name: 'OTEL_SDK_DISABLED', meaning: 'turns telemetry off' }],
        builtInTasks: [task],
      },
      help: new Map([
        ['', 'battlescope-scheduler <command>  '],
        ['run', 'battlescope-scheduler run'],
      ]),
      taskPackages: [{ folder: 'packages/task-loot', task }],
    },
    (path) =>
      path === 'packages/task-loot/README.md' ? '# loot\n<!-- options:start -->\n<!-- options:end -->\n' : undefined,
  )

  it('puts every option into the reference, the README, the environment and the JSON Schema', () => {
    expect(files.get('docs/generated/options.md')).toContain('| `loot.batchSize` | `SCHEDULER_LOOT_BATCH_SIZE` |')
    expect(files.get('packages/task-loot/README.md')).toContain('| `loot.batchSize` | `SCHEDULER_LOOT_BATCH_SIZE` |')
    expect(files.get('docs/generated/environment.md')).toContain('| `SCHEDULER_GRACE` | `grace` | Time to stop in. |')
    expect(files.get('docs/generated/options.md')).toContain('## `cellar`\n\nWhere it is kept.')
    expect(files.get('docs/generated/environment.md')).toContain('| `SCHEDULER_CELLAR_URL` | `cellar.url` |')
    expect(files.get('docs/generated/environment.md')).toContain('| `OTEL_SDK_DISABLED` | – | turns telemetry off |')
    const schema: unknown = JSON.parse(files.get('docs/generated/configuration.schema.json') ?? '')
    const batchSize = { type: 'integer', default: 500 }
    expect(schema).toMatchObject({
      properties: { loot: { properties: { batchSize } }, cellar: { properties: { url: { default: 'file:///' } } } },
    })
  })

  it('lists every exit code and every error', () => {
    const page = files.get('docs/generated/exit-codes.md')
    expect(page).toMatch(/^\| 78 +\| configuration +\|/m)
    expect(page).toMatch(/^\| `database-unavailable` +\| 69 +\|/m)
  })

  it('shows the help of the program and of each command', () => {
    const page = files.get('docs/generated/command-line.md')
    expect(page).toContain('## `battlescope-scheduler`\n\n```text\nbattlescope-scheduler <command>\n```')
    expect(page).toContain('## `battlescope-scheduler run`')
  })
})
