import { builtInTaskNames, loadBuiltInTasks } from '../src/built-in-tasks.js'
import { loadProgramSections, namedSections, sectionsGiven, sectionsWith } from '../src/configuration/sections.js'
import { createScrubber, deriveOptions } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { loadConfiguration, readConfiguration } from '../src/configuration/load.js'

describe('the sections of options', () => {
  it('are the program, the named ones, and one per built-in task', async () => {
    const programSections = await loadProgramSections()
    expect(programSections.map(({ name }) => name)).toEqual([undefined, ...Object.keys(namedSections)])
    expect(sectionsWith(programSections, await loadBuiltInTasks()).map(({ name }) => name)).toEqual([
      ...programSections.map(({ name }) => name),
      ...builtInTaskNames,
    ])
  })

  it('derive names that do not clash, each described', async () => {
    const { options, problems } = deriveOptions(sectionsWith(await loadProgramSections(), await loadBuiltInTasks()))
    expect(problems).toEqual([])
    expect(options.filter(({ description }) => description === undefined).map(({ path }) => path)).toEqual([])
  })

  it('that are named can be asked for', async () => {
    const configuration = await loadConfiguration(
      { environment: {}, secrets: createScrubber() },
      {},
      { database: false },
    )
    for (const name of Object.keys(namedSections)) expect(configuration.section(name as never)).toBeTypeOf('object')
  })

  it('that are named are read where something of them is given, by whatever name', async () => {
    for (const name of Object.keys(namedSections) as (keyof typeof namedSections)[]) {
      const { options } = deriveOptions(await loadProgramSections([name]))
      for (const { section, environment, environmentFile } of options.filter(
        (option) => option.section.name === name,
      )) {
        for (const variable of [environment, environmentFile].filter((given) => given !== undefined))
          expect(sectionsGiven({ [variable]: '' }), variable).toEqual([section.name])
      }
    }
    expect(sectionsGiven({ SCHEDULER_TASKS: 'alerts', REDIS_HOST: 'redis' })).toEqual([])
  })

  it('are those of enabled tasks alone while nothing is wrong, and all that there are as soon as something is', async () => {
    const read = (environment: Record<string, string>) =>
      readConfiguration(
        { environment: { SCHEDULER_TASKS: 'analyze', ...environment }, secrets: createScrubber() },
        {},
        { database: false, options: 'enabled' },
      )
    const sectionNames = async (environment: Record<string, string>) =>
      new Set((await read(environment)).resolved.options.map(({ section }) => section))
    expect([...(await sectionNames({}))]).toEqual([undefined, 'analyze'])
    expect([...(await sectionNames({ SCHEDULER_ALERTS_GRACE: '1m' }))]).toEqual([undefined, 'alerts', 'analyze'])
    // The option of a task that is not enabled is checked like any other.
    expect(await sectionNames({ SCHEDULER_RETENTION_BATCH_ROWS: '100' })).toContain('retention')
    expect((await read({ SCHEDULER_RETENTION_BATCH_ROWS: '100' })).problems).toEqual([])
    expect((await read({ SCHEDULER_RETENTION_BATCH_ROWS: 'many' })).problems).toHaveLength(1)
    const [problem] = (await read({ SCHEDULER_RETENTION_BACH_ROWS: '100' })).problems
    expect(problem?.hint).toContain('SCHEDULER_RETENTION_BATCH_ROWS')
  })
})
