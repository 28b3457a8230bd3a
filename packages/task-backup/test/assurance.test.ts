import { describe, expect, it } from 'vitest'
import { judgeBackups, type Assurance } from '../src/assurance.js'
import type { BackupState } from '../src/tables.js'
import { before, config, dayMs, hourMs, now, row } from './rows.js'

const quiet: Assurance['archiver'] = {
  mode: 'on',
  isConfigured: true,
  countedSince: before(30 * dayMs),
  failedCount: 0,
  lastFailedAt: undefined,
  lastFailedWal: undefined,
  lastArchivedAt: before(60_000),
}

const judge = (change: Partial<Assurance>, rules = {}) =>
  judgeBackups({ backups: [row()], now, archiver: quiet, failedCountBefore: undefined, ...change }, config(rules))
const keys = (change: Partial<Assurance>, rules = {}) => judge(change, rules).map(({ key }) => key)

describe('judgeBackups', () => {
  it('says nothing of a good backup of yesterday', () => {
    expect(keys({})).toEqual([])
  })

  it('tells never from too old', () => {
    expect(keys({ backups: [] })).toEqual(['never-succeeded'])
    expect(keys({ backups: [row({ startedAt: before(27 * hourMs) })] })).toEqual(['too-old'])
    expect(keys({ backups: [row({ startedAt: before(25 * hourMs) })] })).toEqual([])
  })

  it('does not say that there never was one of which there was one', () => {
    const backups = [row({ state: 'vanished' }), row({ state: 'failed', startedAt: before(hourMs) })]
    const [finding] = judge({ backups })
    expect(finding).toMatchObject({ key: 'never-succeeded', summary: expect.not.stringContaining('never') as string })
    expect(finding?.summary).toContain(backups[0]?.name)
    // Of one that somebody else was asked for and lost, nobody knows that it was good.
    expect(judge({ backups: [row({ state: 'vanished', driver: 'http' })] })[0]?.summary).toContain('never')
  })

  it('gives the very first one its time', () => {
    expect(keys({ backups: [row({ state: 'running', startedAt: before(hourMs) })] })).toEqual([])
    expect(keys({ backups: [row({ state: 'overdue', startedAt: before(7 * hourMs) })] })).toEqual([
      'never-succeeded',
      'in-progress-too-long',
    ])
  })

  it.each<[BackupState, string]>([
    ['failed', 'failed'],
    ['vanished', 'vanished'],
    ['unconfirmed', 'unconfirmed'],
  ])('tells that the newest attempt is %s, until one succeeds', (state, key) => {
    const ended = row({ state, startedAt: before(hourMs), message: 'why' })
    expect(keys({ backups: [row({ startedAt: before(dayMs) }), ended] })).toEqual([key])
    expect(keys({ backups: [ended, row({ startedAt: before(60_000) })] })).toEqual([])
  })

  it('is less worried about a failure that is being tried again', () => {
    const failed = row({ state: 'failed', startedAt: before(hourMs) })
    const again = row({ state: 'running', startedAt: before(60_000) })
    expect(judge({ backups: [row({ startedAt: before(dayMs) }), failed] })[0]?.severity).toBe('error')
    expect(judge({ backups: [row({ startedAt: before(dayMs) }), failed, again] })[0]?.severity).toBe('warning')
  })

  it('tells one that is too small', () => {
    const backups = [row({ startedAt: before(hourMs), sizeBytes: 100 }), row({ sizeBytes: 1000 })]
    expect(keys({ backups })).toEqual(['too-small'])
    expect(keys({ backups }, { minSizeRatio: 0.1 })).toEqual([])
  })

  it('judges no backups where nobody takes them', () => {
    expect(keys({ backups: [] }, { driver: 'none' })).toEqual([])
  })
})

describe('WAL archiving', () => {
  const failing = { ...quiet, failedCount: 3, lastFailedAt: before(1000), lastFailedWal: '000000010000000000000042' }

  it('fails when the last failure is newer than the last success, or nothing ever succeeded', () => {
    expect(keys({ archiver: failing })).toEqual(['wal-archiving-fails'])
    expect(keys({ archiver: { ...failing, lastArchivedAt: undefined } })).toEqual(['wal-archiving-fails'])
    expect(keys({ archiver: { ...failing, lastArchivedAt: before(0) } })).toEqual([])
    expect(keys({ archiver: failing }, { driver: 'none' })).toEqual(['wal-archiving-fails'])
    expect(keys({ archiver: failing }, { walArchiving: 'ignored' })).toEqual([])
  })

  it('is unsteady when failures grow although it goes on', () => {
    const recovered = { ...failing, lastArchivedAt: before(0) }
    expect(keys({ archiver: recovered, failedCountBefore: 1 })).toEqual(['wal-archiving-unsteady'])
    expect(keys({ archiver: recovered, failedCountBefore: 3 })).toEqual([])
    // The statistics were reset.
    expect(keys({ archiver: recovered, failedCountBefore: 9 })).toEqual([])
  })

  it('that is off is no fault, unless it is expected', () => {
    const off = { ...failing, mode: 'off' as const }
    expect(keys({ archiver: off })).toEqual([])
    expect(keys({ archiver: off }, { walArchiving: 'expected' })).toEqual(['wal-archiving-off'])
  })

  it('gives findings keys without times, counts and names', () => {
    for (const { key } of judge({ archiver: failing, backups: [] })) expect(key).toMatch(/^[a-z-]+$/)
  })
})
