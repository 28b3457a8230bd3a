/** What the pages about running it point to, and name, is there. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { infra } from './kubernetes.js'

const repository = dirname(infra)
const pages = [
  ...['install', 'upgrade', 'tune', 'troubleshoot', 'security'].map((name) => `docs/${name}.md`),
  ...['docs/README.md', 'docker/README.md', 'infra/README.md', 'infra/postgres/README.md'],
]
const environment = readFileSync(join(repository, 'docs/generated/environment.md'), 'utf8')
const optionNames = new Set([...environment.matchAll(/^\| `([A-Z0-9_]+)`/gm)].map(([, name]) => name!))

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(repository, page), 'utf8')

  it('points to files that exist', () => {
    const targets = [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!)
    const local = targets.filter((target) => !/^[a-z]+:/.test(target))
    expect(local.filter((target) => !existsSync(join(repository, dirname(page), target)))).toEqual([])
  })

  it('applies, builds and runs files that exist', () => {
    const paths = [...text.matchAll(/(?:apply -k|-f|--file=|docker build -t \S+) ?((?:infra|docker)\/\S+)/g)].map(
      ([, path]) => path!.replace(/[`;,.:]+$/, ''),
    )
    expect(paths.filter((path) => !existsSync(join(repository, path)))).toEqual([])
  })

  it('names options that exist', () => {
    const names = [...text.matchAll(/\bSCHEDULER_[A-Z0-9_]+\b(?!_?<)/g)].map(([name]) => name)
    expect(names.filter((name) => !optionNames.has(name) && !notOptions.has(name))).toEqual([])
  })
})

/** Arguments of builds and of the compose file, an option of the example's, and the beginning of `SCHEDULER_<TASK>_…`. */
const notOptions = new Set(['SCHEDULER_IMAGE', 'SCHEDULER_EVERY_SECONDS', 'SCHEDULER_'])
