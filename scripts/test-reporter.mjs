/**
 * A vitest reporter that writes down what became of every test, for run-tests.mjs. vitest's own JSON leaves out why a test was skipped,
 * hooks that failed, and errors outside of any test.
 */
import { writeFileSync } from 'node:fs'

export default class TestReporter {
  onTestRunEnd(modules, unhandledErrors) {
    /** @type {{ passed: number, failed: { name: string, reason: string }[], skipped: { name: string, note: string | null }[] }} */
    const report = { passed: 0, failed: [], skipped: [] }
    for (const module of modules) collectModule(module, report)
    for (const error of unhandledErrors) {
      report.failed.push({ name: 'an error outside of any test', reason: firstLine(error) })
    }
    writeFileSync(String(process.env.TEST_REPORT_FILE), JSON.stringify(report))
  }
}

function collectModule(module, report) {
  const file = module.relativeModuleId
  const broken = new Map()
  for (const group of [module, ...module.children.allSuites()]) {
    const [error] = group.errors()
    if (error !== undefined) broken.set(group, { error, counted: false })
  }
  for (const test of module.children.allTests()) {
    const name = `${file} > ${test.fullName}`
    const { state, note, errors } = test.result()
    if (state === 'passed') report.passed++
    else if (state === 'failed') report.failed.push({ name, reason: firstLine(errors[0]) })
    else {
      const setUp = brokenAncestor(test, broken)
      if (setUp === undefined || test.options.mode === 'skip' || test.options.mode === 'todo') {
        report.skipped.push({ name, note: note ?? null })
      } else {
        // What could not run because its set-up broke has failed; calling it skipped would hide it.
        setUp.counted = true
        report.failed.push({ name, reason: `did not run: ${firstLine(setUp.error)}` })
      }
    }
  }
  for (const [group, { error, counted }] of broken) {
    if (!counted)
      report.failed.push({ name: group === module ? file : `${file} > ${group.fullName}`, reason: firstLine(error) })
  }
}

function brokenAncestor(test, broken) {
  for (let group = test.parent; group !== undefined; group = group.parent) {
    const found = broken.get(group)
    if (found !== undefined) return found
  }
  return undefined
}

function firstLine(error) {
  return String(error?.message ?? error ?? 'no message').split('\n')[0]
}
