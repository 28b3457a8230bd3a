/** From the reports of all packages to what `npm test` prints at its end. Pure. */

/**
 * The report that stands for one package's run, whatever became of it: a run that crashed, or ran no test at all, counts as one failure.
 * `report` is what the reporter wrote, or undefined when it wrote nothing.
 */
export function judgeRun({ name, exitCode, report }) {
  const { passed, failed, skipped } = report ?? { passed: 0, failed: [], skipped: [] }
  const failures = [...failed]
  if (report === undefined)
    failures.push({ name: 'the run crashed', reason: `no report was written, exit code ${exitCode}` })
  else if (exitCode !== 0 && failures.length === 0) {
    failures.push({ name: 'the run crashed', reason: `no test failed, but the exit code was ${exitCode}` })
  } else if (passed + failed.length + skipped.length === 0) {
    failures.push({ name: 'no test ran', reason: 'a package with a test script needs at least one test' })
  }
  return { name, passed, failed: failures, skipped }
}

/** All lines; the last one is the plain line of counts. */
export function summarize(runs) {
  const count = (pick) => runs.reduce((sum, run) => sum + pick(run), 0)
  const passed = count((run) => run.passed)
  const failed = count((run) => run.failed.length)
  const skipped = count((run) => run.skipped.length)
  const nothingRan = passed + failed === 0
  const lines = []
  if (skipped > 0) {
    lines.push('', 'Skipped:')
    for (const run of runs) {
      for (const test of run.skipped) lines.push(`  ${run.name}: ${describeSkip(test)}`)
    }
  }
  if (failed > 0 || nothingRan) {
    lines.push('', 'Failed:')
    for (const run of runs) {
      for (const test of run.failed) lines.push(`  ${run.name}: ${test.name}: ${test.reason}`)
    }
    if (nothingRan) lines.push('  no test ran at all')
  }
  lines.push('', `${passed} passed, ${failed + (nothingRan ? 1 : 0)} failed, ${skipped} skipped`)
  return { lines, exitCode: failed > 0 || nothingRan ? 1 : 0 }
}

/** `name: reason; how to get it`, from the convention in CONTRIBUTING.md or the note that was given to `context.skip`. */
export function describeSkip({ name, note }) {
  if (note) return `${name}: ${note}`
  return /\(skipped: .+\)/s.test(name) ? name : `${name}: no reason given (see CONTRIBUTING.md, "Skipped tests")`
}
