/**
 * Every package's tests, one package after another, then the tests of these scripts; ends with `N passed, N failed, N skipped`.
 * Never from a cache: the numbers are those of this run.
 */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { capture, exitCodeOf, root, run, stopSignal } from './pnpm.mjs'
import { judgeRun, summarize } from './test-summary.mjs'

const scriptsRun = { name: 'scripts', folder: root, command: 'node_modules/.bin/vitest', args: ['run'] }

/** Resolves to the exit code. `args`: `--filter NAME…`; everything else goes to vitest. */
export async function runTests(args, { env }) {
  const { values, positionals } = parseArgs({
    args,
    options: { filter: { type: 'string', multiple: true, short: 'F', default: [] } },
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
  for (const candidate of selected) {
    if (stopSignal() !== undefined) break
    runs.push(await runOne(candidate, positionals, env))
  }

  const { lines, exitCode } = summarize(runs)
  console.log(lines.join('\n'))
  return stopSignal() === undefined ? exitCode : exitCodeOf(stopSignal())
}

async function runOne({ name, folder, command, args }, positionals, env) {
  const reports = mkdtempSync(join(tmpdir(), 'test-report-'))
  const reportFile = join(reports, 'report.json')
  const startedMs = performance.now()
  console.log(`\n=== ${name}`)
  try {
    const reporters = ['--reporter=default', `--reporter=${join(root, 'scripts/test-reporter.mjs')}`]
    const exitCode = await run(command, [...args, ...reporters, ...positionals], {
      cwd: folder,
      env: { ...env, TEST_REPORT_FILE: reportFile },
    })
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
