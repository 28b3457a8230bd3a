/** Fills the database: real killmails first, generated ones up to the wanted size. */
import type pg from 'pg'
import type { DemoArguments } from './arguments.js'
import { selectNowMs } from './database.js'
import { generateKillmails, selectSpanMs } from './generator/generate.js'
import { describeProblems, type FileReport } from './killmails/collection.js'
import { readKillmailFiles } from './killmails/read-files.js'
import { loadAccounts, loadKillmails } from './loading/load.js'
import { formatCount, type Output } from './output.js'

const dayMs = 86_400_000

export async function fillDatabase(
  client: pg.Client,
  { size, seed, killmails: paths }: DemoArguments,
  { baseFolder, output, signal }: { baseFolder: string; output: Output; signal: AbortSignal },
): Promise<void> {
  const nowMs = await selectNowMs(client)
  const { killmails: real, reports } = await readKillmailFiles(paths, baseFolder, { nowMs })
  for (const report of reports) output.text(...describeReport(report))
  signal.throwIfAborted()

  const count = Math.max(0, size - real.length)
  const takenIds = new Set(real.map(({ id }) => id))
  const generated = count === 0 ? [] : generateKillmails({ count, seed, endsAtMs: nowMs, takenIds })
  const weeks = selectSpanMs(count) / dayMs / 7
  output.text(
    `${formatCount(real.length)} real killmails, ${formatCount(count)} generated` +
      (count === 0 ? '' : ` over the last ${weeks} weeks (seed ${seed})`),
  )
  signal.throwIfAborted()

  const options = { nowMs, seed, signal }
  const startedMs = performance.now()
  const loaded = [
    ...(await loadKillmails(client, [...real, ...generated], options)),
    ...(await loadAccounts(client, options)),
  ]
  const rows = loaded.reduce((sum, table) => sum + table.rows, 0)
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  output.text(`${formatCount(rows)} rows in ${loaded.length} tables by COPY, in ${seconds} s`)
}

export function describeReport({ file, loaded, duplicates, values, problems }: FileReport): readonly string[] {
  const counts = [
    `${formatCount(loaded)} killmails`,
    ...(duplicates > 0 ? [`${formatCount(duplicates)} there already`] : []),
    ...(values > 0 ? [`${formatCount(values)} values for killmails`] : []),
  ]
  return [`${file}: ${counts.join(', ')}`, ...describeProblems(problems).map((line) => `  not usable: ${line}`)]
}
