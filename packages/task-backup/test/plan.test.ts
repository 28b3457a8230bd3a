import { describe, expect, it } from 'vitest'
import { backupName, dumpObjectName, manifestObjectName } from '../src/names.js'
import {
  changesOf,
  doesNotFit,
  judgeRunning,
  newestGood,
  planBackup,
  predictCommandMs,
  predictDumpMs,
  tooSmall,
} from '../src/plan.js'
import type { BackupRecord, BackupState } from '../src/tables.js'
import { before, config, dayMs, hourMs, now, row } from './rows.js'

const slotId = 'backup@2026-11-23T03:00:00Z'
const plan = (backups: readonly BackupRecord[], change = {}) => planBackup(backups, { slotId, now }, config(change))

describe('planBackup', () => {
  it('starts the first one, named after its slot', () => {
    expect(plan([])).toMatchObject({ kind: 'start', name: 'backup-2026-11-23t03-00-00z', attempt: 1 })
  })

  it('starts one in a new slot', () => {
    expect(plan([row()])).toMatchObject({ kind: 'start', attempt: 1 })
  })

  it('takes nothing without a driver', () => {
    expect(plan([], { driver: 'none' }).kind).toBe('off')
  })

  it.each(['announced', 'running'] as const)('begins no other while one is %s, whatever its slot', (state) => {
    expect(plan([row({ state })]).kind).toBe('open')
  })

  it('no longer waits for one that is overdue, except in its own slot', () => {
    expect(plan([row({ state: 'overdue' })]).kind).toBe('start')
    expect(plan([row({ state: 'overdue', slotId })]).kind).toBe('taken')
  })

  it.each(['succeeded', 'unconfirmed'] as const)('takes one per slot: %s', (state) => {
    expect(plan([row({ state, slotId, startedAt: before(7 * hourMs) })]).kind).toBe('taken')
  })

  it('takes none while the newest good one is younger than minAge, for slots that are caught up late', () => {
    expect(plan([row({ startedAt: before(5 * hourMs) })]).kind).toBe('fresh')
    expect(plan([row({ startedAt: before(5 * hourMs) })], { minAge: '4h' }).kind).toBe('start')
    expect(plan([row({ startedAt: before(5 * hourMs), state: 'failed' })]).kind).toBe('start')
  })

  it.each<BackupState>(['failed', 'vanished'])(
    'tries one that is %s again under another name, as often as allowed',
    (state) => {
      const first = row({ state, slotId })
      expect(plan([first])).toMatchObject({ kind: 'start', attempt: 2, name: 'backup-2026-11-23t03-00-00z-2' })
      expect(plan([first, row({ state, slotId, attempt: 2 })]).kind).toBe('given-up')
      expect(plan([first], { attempts: 1 }).kind).toBe('given-up')
    },
  )

  it('gives Kubernetes names their prefix', () => {
    const change = { driver: 'kubernetes', cluster: 'db', namePrefix: 'eu' }
    expect(plan([], change)).toMatchObject({ name: 'eu-backup-2026-11-23t03-00-00z' })
  })
})

describe('backupName', () => {
  it.each([
    ['backup@2026-11-25T18:30:00.123Z', 1],
    ['backup@2026-11-25T18:30:00Z', 12],
    [`${'x'.repeat(80)}@2026-11-25T18:30:00Z`, 1],
    [`${'x'.repeat(80)}@2026-11-25T18:30:00Z`, 10],
    ['@2026-@', 2],
  ])('makes a DNS-1123 label of %s, attempt %i', (slot, attempt) => {
    expect(backupName({ slotId: slot, attempt, prefix: 'p' })).toMatch(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
  })

  it('tells slots and attempts apart, also where names are cut', () => {
    const long = 'x'.repeat(80)
    const names = [1, 2].flatMap((attempt) => ['a', 'b'].map((end) => backupName({ slotId: `${long}${end}`, attempt })))
    expect(new Set(names).size).toBe(4)
  })
})

describe('names in the store', () => {
  it('lead from the dump to its manifest', () => {
    const object = dumpObjectName('backup-1', '1f0c9a77-0000-4000-8000-000000000000')
    expect(object).toBe('backups/data/backup-1.1f0c9a77.dump')
    expect(manifestObjectName(object)).toBe('backups/manifests/backup-1.1f0c9a77.json')
    expect(() => manifestObjectName('data/x.parquet')).toThrow(RangeError)
  })
})

describe('newestGood', () => {
  it('goes by when it was taken, neither by name nor by when it was announced', () => {
    const old = row({ name: 'z', startedAt: before(3 * dayMs), announcedAt: now })
    const young = row({ name: 'a', startedAt: before(dayMs), announcedAt: before(dayMs) })
    expect(newestGood([old, young, row({ state: 'failed', startedAt: now })])).toBe(young)
  })
})

describe('predictDumpMs', () => {
  const assumed = config({ assumedRate: '1MB' })

  it('assumes a rate until there is a dump', () => {
    expect(predictDumpMs([], 10_000_000, assumed)).toBe(12_000)
  })

  it('learns it from the slowest of the last five, with a margin', () => {
    const took = (ms: number, age: number) =>
      row({ startedAt: before(age), finishedAt: new Date(before(age).getTime() + ms), databaseBytes: 1_000_000 })
    const backups = [took(4000, 1), took(6000, 2), took(3000, 3), took(3000, 4), took(3000, 5), took(60_000, 6)]
    // 4 s for a megabyte, beside the two seconds that any takes.
    expect(predictDumpMs(backups, 2_000_000, assumed)).toBe(2000 + 2 * 4000 * 1.25)
  })

  it('learns nothing from other drivers', () => {
    expect(predictDumpMs([row({ driver: 'command' })], 10_000_000, assumed)).toBe(12_000)
  })
})

describe('predictCommandMs', () => {
  it('is the deadline until a command has shown that it needs less', () => {
    const options = config({ commandTimeout: '30s' })
    expect(predictCommandMs([], options)).toBe(30_000)
    const quick = row({ driver: 'command', finishedAt: new Date(before(dayMs).getTime() + 4000) })
    expect(predictCommandMs([quick], options)).toBe(7000)
    const justFits = row({ driver: 'command', finishedAt: new Date(before(dayMs).getTime() + 29_000) })
    expect(predictCommandMs([justFits], options)).toBe(30_000)
  })

  it('is beyond the deadline for a command that was seen to need longer', () => {
    const took = row({ driver: 'command', finishedAt: new Date(before(dayMs).getTime() + 20 * 60_000) })
    expect(predictCommandMs([took], config({ commandTimeout: '30s' }))).toBe(2000 + 25 * 60_000)
    // Where it may take that long, the margin is no reason not to begin.
    expect(predictCommandMs([took], config({ commandTimeout: '21m' }))).toBe(21 * 60_000)
  })
})

describe('doesNotFit', () => {
  const judged = (lateByMs: number) => doesNotFit({ predictedMs: 1_500_400, leftMs: 36_900, lateByMs })

  it('is told once nobody took it within two hours of the slot', () => {
    expect(judged(2 * hourMs + 1)).toMatchObject({
      key: 'does-not-fit',
      severity: 'error',
      summary: expect.stringMatching(/1501 s.* 36 s .*CronJob of its own/) as string,
    })
  })

  it('pages nobody while a CronJob of its own may still take it', () => {
    expect(judged(0)).toBeUndefined()
    expect(judged(2 * hourMs)).toBeUndefined()
  })
})

describe('judgeRunning', () => {
  it.each([
    [5 * hourMs, 'running'],
    [7 * hourMs, 'overdue'],
    [7 * dayMs, 'overdue'],
    [8 * dayMs, 'given-up'],
  ])('of one that runs for %i ms says %s', (ms, verdict) => {
    expect(judgeRunning(row({ state: 'running', startedAt: before(ms) }), now, config())).toBe(verdict)
  })
})

describe('tooSmall', () => {
  const newest = (sizeBytes: number | undefined) => row({ startedAt: before(hourMs), sizeBytes })

  it('compares with the good one before, of the same driver', () => {
    const older = row({ sizeBytes: 1000 })
    expect(tooSmall([older, newest(400)], 0.5)).toMatchObject({ ratio: 0.4, before: older })
    expect(tooSmall([older, newest(600)], 0.5)).toBeUndefined()
    expect(tooSmall([row({ sizeBytes: 1000, driver: 'http' }), newest(400)], 0.5)).toBeUndefined()
    expect(tooSmall([row({ sizeBytes: 1000, state: 'failed' }), newest(400)], 0.5)).toBeUndefined()
  })

  it('says nothing where nobody knows the size', () => {
    expect(tooSmall([row({ sizeBytes: 1000 }), newest(undefined)], 0.5)).toBeUndefined()
    expect(tooSmall([row({ sizeBytes: undefined }), newest(10)], 0.5)).toBeUndefined()
  })
})

describe('changesOf', () => {
  const slotId = 'backup@2026-11-23T03:00:00Z'

  it('is the good backup of the slot, once there is one', () => {
    const startedAt = before(hourMs)
    const good = row({ name: 'mine', slotId, attempt: 2, startedAt })
    expect(changesOf([row({ slotId, state: 'failed' }), good, row()], slotId)).toEqual([
      {
        key: 'completed',
        summary: 'Backup mine was taken',
        details: {
          name: 'mine',
          driver: 'pg-dump',
          sizeBytes: 1_000_000,
          startedAt: startedAt.toISOString(),
          finishedAt: new Date(startedAt.getTime() + 60_000).toISOString(),
        },
      },
    ])
  })

  it('is nothing for a slot that failed, still runs, or found a recent one', () => {
    for (const state of ['failed', 'running', 'unconfirmed'] as const)
      expect(changesOf([row(), row({ slotId, state })], slotId)).toEqual([])
  })
})
