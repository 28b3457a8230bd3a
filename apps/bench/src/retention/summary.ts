/** Raw measurements → the figures that are compared with targets. Pure. */
import type { ArchivePair, DeletePair, LoadReport, MemoryReport, StatementReport } from './benchmark.js'
import type { Cost } from './cost.js'
import type { Felt } from './other-users.js'
import { median } from '../median.js'

export interface Measured {
  readonly machine: string
  readonly killmails: number
  readonly differing?: readonly string[]
  readonly deletes?: readonly DeletePair[]
  readonly deletesWithoutIndex?: readonly DeletePair[]
  readonly statements?: StatementReport
  readonly dumpBytes?: number
  readonly archives?: readonly ArchivePair[]
  readonly memory?: MemoryReport
  readonly load?: LoadReport
}

export interface Figure {
  readonly what: string
  readonly value: string
  readonly wanted: string
}

/** The median, and all of them. */
const ratios = (values: readonly number[]) =>
  `${median(values).toFixed(2)} × (${values.map((value) => value.toFixed(2)).join(', ')})`
const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

export function summarize(measured: Measured): readonly Figure[] {
  const { differing, deletes, deletesWithoutIndex, statements, dumpBytes, archives, memory, load } = measured
  return [
    ...(differing === undefined
      ? []
      : [
          {
            what: 'relations whose remaining rows differ, by content',
            value: differing.join(', ') || '0',
            wanted: '0',
          },
        ]),
    ...(deletes === undefined ? [] : ofDeletes(deletes, 'battle index present')),
    ...(deletesWithoutIndex === undefined ? [] : ofDeletes(deletesWithoutIndex, 'no battle index')),
    ...(statements === undefined ? [] : ofStatements(statements)),
    ...(archives === undefined ? [] : ofArchives(archives, dumpBytes ?? NaN)),
    ...(memory === undefined ? [] : ofMemory(memory)),
    ...(load === undefined ? [] : ofLoad(load)),
  ]
}

/** The form of plain SQL that was the faster in this pair. */
const bestOf = ({ plain }: DeletePair, of: (cost: Cost) => number) => Math.min(...Object.values(plain).map(of))

function ofDeletes(pairs: readonly DeletePair[], where: string): readonly Figure[] {
  const against = (ms: (pair: DeletePair) => number) =>
    ratios(pairs.map((pair) => bestOf(pair, (cost) => cost.ms) / ms(pair)))
  return [
    {
      what: `deleting without archive, its transactions up to their commits (${where})`,
      value: against(({ withoutArchive }) => withoutArchive.deleteMs),
      wanted: '',
    },
    {
      what: `deleting without archive, the whole task, pause 0 (${where})`,
      value: against(({ withoutArchive }) => withoutArchive.ms),
      wanted: 'at least 0.9',
    },
    {
      what: `the same by CPU of server and process, start included (${where})`,
      value: ratios(pairs.map((pair) => bestOf(pair, ({ cpuMs }) => cpuMs) / pair.withoutArchive.cpuMs)),
      wanted: '',
    },
    {
      what: `the same with the default pause (${where})`,
      value: against(({ withPauses }) => withPauses.ms),
      wanted: '',
    },
    {
      what: `deleting what was archived, version guard included, up to commits (${where})`,
      value: against(({ withArchive }) => withArchive.deleteMs),
      wanted: 'at least 0.75',
    },
  ]
}

function ofStatements({ withoutArchive, withArchive, transactionsMs }: StatementReport): readonly Figure[] {
  const longest = (numbers: readonly number[]) => `${median(numbers)} / ${Math.max(...numbers)} ms`
  return [
    ...[
      { name: 'without archive', times: withoutArchive, transactions: transactionsMs.withoutArchive },
      { name: 'with archive', times: withArchive, transactions: transactionsMs.withArchive },
    ].flatMap(({ name, times, transactions }) => [
      {
        what: `writing statements ${name}: median / longest`,
        value: `${times.medianMs.toFixed(1)} / ${times.longestMs.toFixed(1)} ms`,
        wanted: '25 / at most 250 ms',
      },
      { what: `transactions that delete ${name}: median / longest`, value: longest(transactions), wanted: '' },
      { what: `their commits ${name}, together`, value: `${times.commitsMs.toFixed(0)} ms`, wanted: '' },
    ]),
  ]
}

function ofArchives(pairs: readonly ArchivePair[], dumpBytes: number): readonly Figure[] {
  const bytes = median(pairs.map(({ task }) => task.bytes))
  const copiedBytes = median(pairs.map(({ copied }) => copied.bytes))
  return [
    {
      what: 'archive, read back, delete against COPY | zstd, read back, the same delete',
      value: ratios(pairs.map(({ copied, task }) => (copied.ms + task.deleteMs) / task.ms)),
      wanted: 'at least 0.5',
    },
    {
      what: 'peak memory of the process',
      value: `${Math.max(...pairs.map(({ task }) => task.peakMib)).toFixed(0)} MiB`,
      wanted: 'under 192 MiB',
    },
    { what: 'size of the Parquet files', value: mib(bytes), wanted: '' },
    {
      what: 'against COPY | zstd -3',
      value: `${(bytes / copiedBytes).toFixed(2)} × (${mib(copiedBytes)})`,
      wanted: 'at most 1',
    },
    {
      what: 'against pg_dump -Fc',
      value: `${(bytes / dumpBytes).toFixed(2)} × (${mib(dumpBytes)})`,
      wanted: 'at most 1',
    },
  ]
}

function ofMemory({ few, many }: MemoryReport): readonly Figure[] {
  return [
    {
      what: `peak memory, ${few.archivedRows} and ${many.archivedRows} rows archived by one process`,
      value: `${few.peakMib.toFixed(0)} and ${many.peakMib.toFixed(0)} MiB`,
      wanted: 'no more; under 192 MiB',
    },
  ]
}

function ofLoad({ pairs }: LoadReport): readonly Figure[] {
  const list = (of: (felt: Felt) => number, felt: readonly Felt[], digits: number) =>
    `${median(felt.map(of)).toFixed(digits)} (${felt.map((one) => of(one).toFixed(digits)).join(', ')})`
  const subjects = {
    'plain SQL': pairs.map(({ plain }) => plain),
    'the task without archive': pairs.map(({ withoutArchive }) => withoutArchive),
    'COPY | zstd, then plain SQL': pairs.map(({ plainWithCopy }) => plainWithCopy),
    'the task with archive': pairs.map(({ withArchive }) => withArchive),
  }
  return Object.entries(subjects).flatMap(([name, felt]) => [
    { what: `others' share of their rate under ${name}`, value: list(({ rate }) => rate, felt, 3), wanted: '' },
    { what: `others' p95 under ${name}, ms`, value: list(({ p95Ms }) => p95Ms, felt, 2), wanted: '' },
  ])
}
