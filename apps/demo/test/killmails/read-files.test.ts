import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeReport } from '../../src/fill.js'
import { findMissingPaths, readKillmailFiles } from '../../src/killmails/read-files.js'
import { esi, region, valueOnly, zkillboard } from './samples.js'

const options = { nowMs: Date.UTC(2026, 10, 23) }
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'killmails-'))
  await mkdir(join(folder, 'all/deeper'), { recursive: true })
  await mkdir(join(folder, 'none'))
  await writeFile(join(folder, 'all/a.json'), JSON.stringify([esi, { ...esi, victim: 7 }, esi]))
  await writeFile(join(folder, 'all/deeper/b.json'), JSON.stringify([zkillboard, region, esi]))
  await writeFile(join(folder, 'all/deeper/notes.txt'), 'not read')
  await writeFile(join(folder, 'values.json'), JSON.stringify([valueOnly, { ...valueOnly, killmail_id: 9 }]))
  await writeFile(join(folder, 'packed.json'), gzipSync('[]'))
})

afterAll(() => rm(folder, { recursive: true }))

describe('files and folders', () => {
  it('reads folders through, counts what is there already, and joins values', async () => {
    const { killmails, reports } = await readKillmailFiles(
      ['all', 'values.json', 'packed.json', 'none'],
      folder,
      options,
    )
    expect(killmails.map(({ id, valueIsk }) => [id, valueIsk])).toEqual([
      [101, 1234.56],
      [303, 1234.56],
      [-202, undefined],
    ])
    expect(reports.flatMap(describeReport)).toEqual([
      'all/a.json: 1 killmails, 1 there already',
      '  not usable: entry 2: victim must be an object, not 7',
      'all/deeper/b.json: 2 killmails, 1 there already',
      'values.json: 0 killmails, 1 values for killmails',
      '  not usable: 1 entries are a zkb block for a killmail that is in none of the files, and no killmail',
      'packed.json: 0 killmails',
      '  not usable: is compressed with gzip: unpack it first',
      'none: 0 killmails',
      '  not usable: has no files that end in .json, .jsonl, .ndjson',
    ])
  })

  it('reads a file once, however often it is given', async () => {
    const { killmails, reports } = await readKillmailFiles(['all/a.json', 'all'], folder, options)
    expect(killmails).toHaveLength(3)
    expect(reports.map(({ loaded, duplicates }) => [loaded, duplicates])).toEqual([
      [1, 1],
      [0, 2],
      [2, 1],
    ])
  })

  it('reports what went away in between instead of failing', async () => {
    const { reports } = await readKillmailFiles(['gone.json', 'all/a.json'], folder, options)
    expect(reports[0]?.problems[0]?.why).toMatch(/^cannot be read: ENOENT/)
    expect(reports[1]?.loaded).toBe(1)
  })

  it('lists equal reasons once, with the first places', async () => {
    await writeFile(join(folder, 'many.json'), JSON.stringify(Array.from({ length: 9 }, () => ({ system_id: 1 }))))
    const { reports } = await readKillmailFiles(['many.json'], folder, options)
    expect(reports.flatMap(describeReport)[1]).toBe(
      '  not usable: entry 1, entry 2, entry 3 and 6 more: no killmail: it has no killmail_id',
    )
  })

  it('finds the paths that are not there', async () => {
    expect(await findMissingPaths(['all', 'gone.json', 'all/a.json', '../gone'], folder)).toEqual([
      'gone.json',
      '../gone',
    ])
  })
})
