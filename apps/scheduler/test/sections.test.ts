import { builtInTasks } from '../src/built-in-tasks.js'
import { namedSections, programSections, sections } from '../src/configuration/sections.js'
import { createScrubber, deriveOptions } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { loadConfiguration } from '../src/configuration/load.js'

describe('the sections of options', () => {
  it('are the program, the named ones, and one per built-in task', () => {
    expect(programSections.map(({ name }) => name)).toEqual([undefined, ...Object.keys(namedSections)])
    expect(sections.map(({ name }) => name)).toEqual([
      ...programSections.map(({ name }) => name),
      ...builtInTasks.map(({ name }) => name),
    ])
  })

  it('derive names that do not clash, each described', () => {
    const { options, problems } = deriveOptions(sections)
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
})
