/** The parts of `pnpm --filter @battlescope/bench retention`. Every comparison is made in pairs, one after the other on copies of one database. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Cost } from './cost.js'
import type { Copy, Databases } from './databases.js'
import { feel, saturate, type Felt } from './other-users.js'
import { copyPlainly, deletePlainly, dumpExpired, type CopiedRows, type Form } from './plain-sql.js'
import { hashRows, runRetention, type RetentionRun, type RunOptions } from './runs.js'
import { measureStatements, type StatementTimes } from './statement-times.js'

export interface Setting {
  readonly databases: Databases
  /** How long the load of others runs alone: before it is measured, and to find out how much it can be. */
  readonly loadSeconds: number
  /** Says what was measured, as it comes. */
  readonly say: (text: string) => void
}

type Subject = Omit<RunOptions, 'folder'>

async function onCopy<T>(
  { databases }: Setting,
  work: (copy: Copy) => Promise<T>,
  options: { readonly battleIndex?: boolean } = {},
): Promise<T> {
  const copy = await databases.copy(options)
  try {
    return await work(copy)
  } finally {
    await copy.drop()
  }
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-store-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const retain = (setting: Setting, subject: Subject, options: { readonly battleIndex?: boolean } = {}) =>
  onCopy(setting, (copy) => inFolder((folder) => runRetention(copy, { ...subject, folder })), options)

// ── deleting ─────────────────────────────────────────────────────────────────────────────────────────────────────

export interface DeletePair {
  readonly plain: Readonly<Record<Form, Cost>>
  readonly withoutArchive: RetentionRun
  /** The same with the task's own pause between batches. */
  readonly withPauses: RetentionRun
  readonly withArchive: RetentionRun
}

export async function measureDeletes(
  setting: Setting,
  pairs: number,
  battleIndex: boolean,
): Promise<readonly DeletePair[]> {
  const found: DeletePair[] = []
  for (let number = 1; number <= pairs; number += 1) {
    const plainly = (form: Form) => onCopy(setting, ({ client }) => deletePlainly(client, form), { battleIndex })
    const byKeys = await plainly('by-keys')
    const withoutArchive = await retain(setting, { archive: false, pause: '0s' }, { battleIndex })
    const byTime = await plainly('by-time')
    const withPauses = await retain(setting, { archive: false }, { battleIndex })
    const withArchive = await retain(setting, { archive: true, pause: '0s' }, { battleIndex })
    found.push({ plain: { 'by-keys': byKeys, 'by-time': byTime }, withoutArchive, withPauses, withArchive })
    setting.say(
      `pair ${number}${battleIndex ? '' : ', no battle index'}: plain ${byKeys.ms.toFixed(0)} (by keys), ${byTime.ms.toFixed(0)} (by time) ms; ` +
        `CPU ${byKeys.cpuMs}, ${byTime.cpuMs}; ` +
        `task without archive ${withoutArchive.ms} ms (deleting ${withoutArchive.deleteMs}, CPU ${withoutArchive.cpuMs}), with pauses ${withPauses.ms}; ` +
        `with archive ${withArchive.ms} ms (deleting ${withArchive.deleteMs}, CPU ${withArchive.cpuMs})`,
    )
  }
  return found
}

/** The rows that are left are the same, whoever deleted. @returns relations that differ */
export async function compareRemains(setting: Setting): Promise<readonly string[]> {
  const plain = await onCopy(setting, async (copy) => {
    await deletePlainly(copy.client, 'by-keys')
    return hashRows(copy)
  })
  const differing: string[] = []
  const others: Readonly<Record<string, (copy: Copy, folder: string) => Promise<unknown>>> = {
    'by time': ({ client }) => deletePlainly(client, 'by-time'),
    'without archive': (copy, folder) => runRetention(copy, { archive: false, pause: '0s', folder }),
    'with archive': (copy, folder) => runRetention(copy, { archive: true, pause: '0s', folder }),
  }
  for (const [name, work] of Object.entries(others)) {
    const left = await onCopy(setting, async (copy) => {
      await inFolder((folder) => work(copy, folder))
      return hashRows(copy)
    })
    for (const [table, hash] of Object.entries(plain)) if (left[table] !== hash) differing.push(`${name}: ${table}`)
  }
  return differing
}

export interface StatementReport {
  readonly withoutArchive: StatementTimes
  readonly withArchive: StatementTimes
  /** Milliseconds of the transactions that delete. */
  readonly transactionsMs: { readonly withoutArchive: readonly number[]; readonly withArchive: readonly number[] }
}

export async function measureAllStatements(setting: Setting): Promise<StatementReport> {
  const of = (archive: boolean) =>
    onCopy(setting, (copy) =>
      inFolder(async (folder) => {
        let run: RetentionRun | undefined
        const times = await measureStatements(copy, async () => {
          run = await runRetention(copy, { archive, folder })
        })
        return { times, transactionsMs: run?.transactionsMs ?? [] }
      }),
    )
  const [without, withArchive] = [await of(false), await of(true)]
  const describe = ({ statements, medianMs, p99Ms, longestMs, longest, commitsMs }: StatementTimes) =>
    `${statements} writing statements, median ${medianMs.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, longest ${longestMs.toFixed(1)} ms (${longest}); their commits ${commitsMs.toFixed(0)} ms`
  setting.say(`without archive: ${describe(without.times)}`)
  setting.say(`with archive: ${describe(withArchive.times)}`)
  return {
    withoutArchive: without.times,
    withArchive: withArchive.times,
    transactionsMs: { withoutArchive: without.transactionsMs, withArchive: withArchive.transactionsMs },
  }
}

// ── archiving ────────────────────────────────────────────────────────────────────────────────────────────────────

export interface ArchivePair {
  /** COPY | zstd, read back and hashed. */
  readonly copied: CopiedRows
  readonly task: RetentionRun
}

export async function measureArchives(setting: Setting, pairs: number): Promise<readonly ArchivePair[]> {
  const found: ArchivePair[] = []
  for (let number = 1; number <= pairs; number += 1) {
    const copied = await onCopy(setting, (copy) => inFolder((folder) => copyPlainly(copy, folder)))
    const task = await retain(setting, { archive: true, pause: '0s' })
    found.push({ copied, task })
    setting.say(
      `pair ${number}: COPY | zstd, read back ${copied.ms.toFixed(0)} ms; task ${task.ms} ms, of which deleting ${task.deleteMs}; ` +
        `${task.archivedRows} rows in ${task.bytes} bytes (zstd ${copied.bytes}), peak ${task.peakMib.toFixed(0)} MiB`,
    )
  }
  return found
}

/** Bytes of `pg_dump -Fc` of the rows that expired. */
export const measureDump = (setting: Setting) =>
  onCopy(setting, (copy) => inFolder((folder) => dumpExpired(copy, folder)))

export interface MemoryReport {
  readonly few: RetentionRun
  /** Ten times as many rows: 6 months stay instead of 60. */
  readonly many: RetentionRun
}

export async function measureMemory(setting: Setting, nodeOptions?: string): Promise<MemoryReport> {
  const subject = { archive: true, pause: '0s', ...(nodeOptions === undefined ? {} : { nodeOptions }) }
  const few = await retain(setting, subject)
  const many = await retain(setting, { ...subject, keep: '6 months' })
  for (const run of [few, many])
    setting.say(`${run.archivedRows} rows archived in ${run.ms} ms, peak memory ${run.peakMib.toFixed(0)} MiB`)
  return { few, many }
}

// ── others ───────────────────────────────────────────────────────────────────────────────────────────────────────

export interface LoadPair {
  readonly plain: Felt
  readonly withoutArchive: Felt
  /** The yardstick of {@link archive}: COPY | zstd, read back, and then the plain deletes. */
  readonly plainWithCopy: Felt
  readonly withArchive: Felt
  /** Before anybody deleted. */
  readonly quiet: readonly Felt[]
}

export interface LoadReport {
  readonly saturatedRate: number
  readonly rate: number
  readonly pairs: readonly LoadPair[]
}

export async function measureLoad(setting: Setting, pairs: number): Promise<LoadReport> {
  const saturatedRate = await onCopy(setting, (copy) => saturate(copy, setting.loadSeconds))
  const rate = Math.round(saturatedRate / 2)
  setting.say(`other users alone: ${saturatedRate.toFixed(0)} transactions a second at most; ${rate} from here on`)
  const found: LoadPair[] = []
  for (let number = 1; number <= pairs; number += 1) {
    const quiet: Felt[] = []
    const under = async (title: string, work: (copy: Copy, folder: string) => Promise<unknown>): Promise<Felt> => {
      const { during, before } = await onCopy(setting, (copy) =>
        inFolder((folder) => feel(copy, { rate, quietSeconds: setting.loadSeconds }, () => work(copy, folder))),
      )
      quiet.push(before)
      setting.say(
        `pair ${number}, ${title}: for ${during.seconds.toFixed(1)} s rate ${during.rate.toFixed(3)} (before ${before.rate.toFixed(3)}), ` +
          `p95 ${during.p95Ms.toFixed(2)} ms (before ${before.p95Ms.toFixed(2)})`,
      )
      return during
    }
    const plain = await under('plain SQL', ({ client }) => deletePlainly(client, 'by-keys'))
    const withoutArchive = await under('task without archive', (copy, folder) =>
      runRetention(copy, { archive: false, folder }),
    )
    const plainWithCopy = await under('COPY | zstd, then plain SQL', async (copy, folder) => {
      await copyPlainly(copy, folder)
      await copy.client.query('DROP TABLE expired_battle, expired_killmail')
      await deletePlainly(copy.client, 'by-keys')
    })
    const withArchive = await under('task with archive', (copy, folder) =>
      runRetention(copy, { archive: true, folder }),
    )
    found.push({ plain, withoutArchive, plainWithCopy, withArchive, quiet })
  }
  return { saturatedRate, rate, pairs: found }
}
