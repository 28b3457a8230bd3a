/**
 * Every package's tests, and those of these scripts; ends with `N passed, N failed, N skipped`. Never from a cache: the numbers are those
 * of this run.
 *
 * Two packages at a time where there are two processors: a package's tests run one file after another, because they share a server, and
 * wait for it half of the time. Packages share nothing, unless TEST_DATABASE_URL gives all of them one server.
 */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { capture, exitCodeOf, root, run, runAside, stopSignal } from './pnpm.mjs'
import { judgeRun, summarize } from './test-summary.mjs'

const scriptsRun = { name: 'scripts', folder: root, command: 'node_modules/.bin/vitest', args: ['run'] }

/** Resolves to the exit code. `args`: `--filter NAME…`, `--at-once N` packages; everything else goes to vitest. */
export async function runTests(args, { env }) {
  const { values, positionals } = parseArgs({
    args,
    options: {
      filter: { type: 'string', multiple: true, short: 'F', default: [] },
      'at-once': {
        type: 'string',
        default: env.TEST_DATABASE_URL === undefined && availableParallelism() > 1 ? '2' : '1',
      },
    },
    allowPositionals: true,
  })
  const all = [...packagesWithTests(), scriptsRun]
  const unknown = values.filter.filter((wanted) => !all.some((candidate) => matches(candidate, wanted)))
  const selected =
    values.filter.length === 0
      ? all
      : all.filter((candidate) => values.filter.some((wanted) => matches(candidate, wanted)))

  const runs = unknown.map((wanted) => ({
    name: wanted,
    passed: 0,
    failed: [{ name: 'no such package', reason: `there are ${all.map(({ name }) => name).join(', ')}` }],
    skipped: [],
  }))
  if (selected.length > 0) {
    console.log('building')
    await capture('node_modules/.bin/turbo', ['run', 'build', '--output-logs=errors-only'], { env }).catch((error) => {
      console.error(error.message)
      runs.push({ name: 'build', passed: 0, failed: [{ name: 'turbo run build', reason: 'see above' }], skipped: [] })
    })
  }
  const waiting = [...selected]
  const atOnce = Math.min(waiting.length, Math.max(1, Number(values['at-once']) || 1))
  const lane = async () => {
    for (let candidate = waiting.shift(); candidate !== undefined; candidate = waiting.shift()) {
      if (stopSignal() !== undefined) return
      runs.push(await runOne(candidate, positionals, { env, aside: atOnce > 1 }))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))

  const { lines, exitCode } = summarize(runs)
  console.log(lines.join('\n'))
  return stopSignal() === undefined ? exitCode : exitCodeOf(stopSignal())
}

/** @param aside whether others run meanwhile: what it prints is then shown in one piece, at its end */
async function runOne({ name, folder, command, args }, positionals, { env, aside }) {
  const reports = mkdtempSync(join(tmpdir(), 'test-report-'))
  const reportFile = join(reports, 'report.json')
  const startedMs = performance.now()
  console.log(aside ? `=== ${name} begins` : `\n=== ${name}`)
  try {
    const reporters = ['--reporter=default', `--reporter=${join(root, 'scripts/test-reporter.mjs')}`]
    const all = [...args, ...reporters, ...positionals]
    const options = { cwd: folder, env: { ...env, TEST_REPORT_FILE: reportFile } }
    const { exitCode, output } = aside
      ? await runAside(command, all, options)
      : { exitCode: await run(command, all, options), output: '' }
    if (aside) console.log(`\n=== ${name}\n${output.trimEnd()}`)
    const report = existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, 'utf8')) : undefined
    const judged = judgeRun({ name, exitCode, report })
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    console.log(
      `=== ${name}: ${judged.passed} passed, ${judged.failed.length} failed, ${judged.skipped.length} skipped in ${seconds} s`,
    )
    return judged
  } finally {
    rmSync(reports, { recursive: true, force: true })
  }
}

function packagesWithTests() {
  const folders = ['packages', 'apps'].flatMap((parent) =>
    readdirSync(join(root, parent)).map((child) => join(root, parent, child)),
  )
  return [...folders, join(root, 'docker'), join(root, 'infra')]
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .map((folder) => ({ folder, manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) }))
    .filter(({ manifest }) => manifest.scripts?.test !== undefined)
    .map(({ folder, manifest }) => ({ name: manifest.name, folder, command: 'pnpm', args: ['--silent', 'test'] }))
}

const matches = ({ name }, wanted) => name === wanted || name.replace(/^@[^/]+\//, '') === wanted
