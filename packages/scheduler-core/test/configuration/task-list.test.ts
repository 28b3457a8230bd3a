import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTaskList } from '../../src/configuration/index.js'

const builtIn = ['analyze', 'retention', 'vacuum']

describe('the list of tasks', () => {
  it('tells built-in tasks from packages', () => {
    expect(
      parseTaskList(' analyze, retention ,@acme/battlescope-task-loot,npm:battlescope-task-x,pkg/tasks', builtIn),
    ).toEqual({
      builtIn: ['analyze', 'retention'],
      thirdParty: ['@acme/battlescope-task-loot', 'battlescope-task-x', 'pkg/tasks'],
      problems: [],
    })
  })

  it.each<[string, string, string | undefined, string | undefined]>([
    ['anaylze', 'the name of a built-in task', "'anaylze'", "did you mean 'analyze'?"],
    [
      'loot',
      'the name of a built-in task',
      "'loot'",
      "built-in tasks: analyze, retention, vacuum; a package without a scope is written 'npm:loot'",
    ],
    ['analyze,analyze', 'each task once', "'analyze'", undefined],
    ['npm:x,npm:x', 'each task once', "'npm:x'", undefined],
    ['', 'at least one task', "''", 'such as analyze'],
    [' , ,', 'at least one task', "' , ,'", 'such as analyze'],
    [
      '../evil',
      'the name of an npm package',
      "'../evil'",
      'such as @acme/battlescope-task-loot or npm:battlescope-task-loot',
    ],
    [
      '/etc/passwd',
      'the name of an npm package',
      "'/etc/passwd'",
      'such as @acme/battlescope-task-loot or npm:battlescope-task-loot',
    ],
    [
      'pkg/../../x',
      'the name of an npm package',
      "'pkg/../../x'",
      'such as @acme/battlescope-task-loot or npm:battlescope-task-loot',
    ],
    [
      'npm:',
      'the name of an npm package',
      "'npm:'",
      'such as @acme/battlescope-task-loot or npm:battlescope-task-loot',
    ],
    [
      '@acme/loot@1.2.3',
      'the name of an npm package',
      "'@acme/loot@1.2.3'",
      'leave out the version: it is chosen when the package is installed',
    ],
    ['a\u001b[31m', 'the name of a built-in task', "'a\\u{1b}[31m'", 'built-in tasks: analyze, retention, vacuum'],
  ])('%j', (text, expected, given, hint) => {
    const { problems } = parseTaskList(text, builtIn)
    expect(problems).toEqual([{ path: 'SCHEDULER_TASKS', expected, given, ...(hint === undefined ? {} : { hint }) }])
  })

  it('reports every problem at once and keeps what is right', () => {
    const list = parseTaskList('analyze,vacum,@/x,retention', builtIn, '--tasks')
    expect(list.builtIn).toEqual(['analyze', 'retention'])
    expect(list.problems.map(({ path, given }) => [path, given])).toEqual([
      ['--tasks', "'vacum'"],
      ['--tasks', "'@/x'"],
    ])
  })

  it('either names a problem or yields tasks that are known or packages that stay inside node_modules', () => {
    const word = fc.constantFrom('analyze', 'vacuum', 'npm:', '@', '/', '..', ',', ' ', 'x', '.', '\\', '%2e')
    const text = fc.oneof(
      fc.string(),
      fc.array(word).map((words) => words.join('')),
    )
    fc.assert(
      fc.property(text, (each) => {
        const list = parseTaskList(each, builtIn)
        expect(list.builtIn.length + list.thirdParty.length + list.problems.length).toBeGreaterThan(0)
        expect(list.builtIn.every((name) => builtIn.includes(name))).toBe(true)
        expect(list.thirdParty.filter((name) => /(^|\/)\.|\\|%|^\/|\s/.test(name))).toEqual([])
      }),
    )
  })
})
