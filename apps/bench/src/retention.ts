/**
 * `pnpm --filter @battlescope/bench retention [--killmails 1000000] [--pairs 3] [--only deletes,no-index,statements,archives,memory,load]
 * [--server URL] [--node-options OPTIONS] [--json FILE]`: the retention task against plain SQL. See README.md beside this folder.
 */
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import {
  compareRemains,
  measureAllStatements,
  measureArchives,
  measureDeletes,
  measureDump,
  measureLoad,
  measureMemory,
  type Setting,
} from './retention/benchmark.js'
import { openDatabases } from './retention/databases.js'
import { summarize, type Measured } from './retention/summary.js'

const parts = ['remains', 'deletes', 'no-index', 'statements', 'archives', 'memory', 'load'] as const
const { values } = parseArgs({
  options: {
    killmails: { type: 'string', default: '1000000' },
    pairs: { type: 'string', default: '3' },
    only: { type: 'string', default: parts.join(',') },
    server: { type: 'string' },
    'node-options': { type: 'string' },
    json: { type: 'string' },
  },
})
const killmails = Number(values.killmails)
const pairs = Number(values.pairs)
const asked = values.only.split(',')
const isAsked = (part: (typeof parts)[number]) => asked.includes(part)

const needed = {
  psql: isAsked('archives') || isAsked('load'),
  pg_dump: isAsked('archives'),
  zstd: isAsked('archives'),
  pgbench: isAsked('load'),
}
const missing = Object.entries(needed).filter(
  ([name, isNeeded]) => isNeeded && spawnSync(name, ['--version']).status !== 0,
)
if (missing.length > 0) {
  console.error(
    `not installed: ${missing.map(([name]) => name).join(', ')}; on Debian: apt-get install postgresql-client postgresql-contrib zstd`,
  )
  process.exit(69)
}

const say = (text: string) => process.stdout.write(`${text}\n`)
const databases = await openDatabases(killmails, values.server)
try {
  const machine = `${process.version}, PostgreSQL ${databases.version}, ${cpus().length} cores`
  say(`${killmails} killmails over 66 months, 60 of them kept; ${pairs} pairs; ${machine}`)
  const setting: Setting = { databases, say, loadSeconds: 6 }
  const measured: Measured = {
    machine,
    killmails,
    ...(isAsked('remains') ? { differing: await compareRemains(setting) } : {}),
    ...(isAsked('deletes') ? { deletes: await measureDeletes(setting, pairs, true) } : {}),
    ...(isAsked('no-index') ? { deletesWithoutIndex: await measureDeletes(setting, pairs, false) } : {}),
    ...(isAsked('statements') ? { statements: await measureAllStatements(setting) } : {}),
    ...(isAsked('archives')
      ? { dumpBytes: await measureDump(setting), archives: await measureArchives(setting, pairs) }
      : {}),
    ...(isAsked('memory') ? { memory: await measureMemory(setting, values['node-options']) } : {}),
    ...(isAsked('load') ? { load: await measureLoad(setting, pairs) } : {}),
  }
  const summary = summarize(measured)
  say('')
  for (const { what, value, wanted } of summary) say(`${what.padEnd(76)} ${value.padStart(22)}   ${wanted}`)
  if (values.json !== undefined)
    await writeFile(values.json, `${JSON.stringify({ summary, ...measured }, undefined, 1)}\n`)
} finally {
  await databases.close()
}
