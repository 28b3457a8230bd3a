/**
 * Everything that must hold before a change is merged; `pnpm check` and CI run it.
 * Usage: node scripts/check.mjs [--list] [--only a,b] [--except a,b]
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { declarationProblems } from './checks/declarations.mjs'
import { packAll } from './checks/public-packages.mjs'
import { capture, environmentWithPnpm, exitCodeOf, requireNode, root, stopSignal } from './pnpm.mjs'
import { runTests } from './run-tests.mjs'

requireNode()
const env = environmentWithPnpm()
const bin = (name) => join(root, 'node_modules/.bin', name)
const temporary = mkdtempSync(join(tmpdir(), 'check-'))

/** What more than one check needs is made once. */
const once = (make) => {
  let made
  return () => (made ??= make())
}
const packed = once(async () => {
  await capture(bin('turbo'), ['run', 'build', '--output-logs=errors-only'], { env })
  return packAll(root, temporary, env)
})

/** A check throws an error whose message is what to show. */
const checks = {
  format: {
    about: 'formatted by prettier',
    run: () => capture(bin('prettier'), ['--check', '--log-level=warn', '.'], { env }),
  },
  types: {
    about: 'types of every package and of these scripts',
    run: async () => {
      await capture(bin('turbo'), ['run', 'typecheck', '--output-logs=errors-only', '--continue'], { env })
      await capture(bin('tsc'), ['-p', 'scripts'], { env })
    },
  },
  lint: { about: 'ESLint', run: () => capture(bin('turbo'), ['run', 'lint', '--output-logs=errors-only'], { env }) },
  unused: {
    about: 'unused files, exports and dependencies (knip)',
    run: () => capture(bin('knip'), ['--no-progress'], { env }),
  },
  exports: {
    about: 'what the packed packages export (publint, attw)',
    run: async () => {
      const problems = []
      for (const { tarball } of await packed()) {
        await collect(problems, capture(bin('publint'), ['run', tarball, '--strict'], { env }))
        await collect(
          problems,
          capture(bin('attw'), [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-color'], { env }),
        )
      }
      if (problems.length > 0) throw new Error(problems.join('\n'))
    },
  },
  declarations: {
    about: 'published declarations compile with TypeScript 5.4',
    run: async () => {
      const folder = join(temporary, 'consumer')
      mkdirSync(folder)
      const typesNode = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies['@types/node']
      const problems = await declarationProblems({ folder, packed: await packed(), typesNode, env })
      if (problems.length > 0) throw new Error(problems.join('\n'))
    },
  },
  docs: {
    about: 'generated documentation is up to date',
    run: () => capture('pnpm', ['--silent', 'run', 'docs', '--check'], { env }),
  },
  architecture: {
    about: 'direction of imports, shape of packages',
    run: () => capture(bin('vitest'), ['run', 'scripts/architecture'], { env }),
  },
  tests: {
    about: 'every test (what `npm test` runs)',
    run: async () => {
      const exitCode = await runTests([], { env })
      if (exitCode !== 0) throw new Error('see above')
    },
  },
}

async function collect(problems, promise) {
  await promise.catch((error) => problems.push(error.message))
}

/** @type {{ type: 'string', multiple: true, default: string[] }} */
const list = { type: 'string', multiple: true, default: [] }
const { values } = parseArgs({ options: { only: list, except: list, list: { type: 'boolean', default: false } } })
const split = (lists) => lists.flatMap((text) => text.split(',')).filter((name) => name !== '')
const [only, except] = [split(values.only), split(values.except)]
const unknown = [...only, ...except].filter((name) => !(name in checks))

if (values.list) {
  for (const [name, { about }] of Object.entries(checks)) console.log(`${name.padEnd(12)}  ${about}`)
} else if (unknown.length > 0) {
  console.error(`no such check: ${unknown.join(', ')}; there are ${Object.keys(checks).join(', ')}`)
  process.exitCode = 64
} else {
  process.exitCode = await runChecks(
    Object.keys(checks).filter((name) => (only.length === 0 || only.includes(name)) && !except.includes(name)),
  )
}
rmSync(temporary, { recursive: true, force: true })

async function runChecks(names) {
  const failures = []
  for (const name of names) {
    if (stopSignal() !== undefined) return exitCodeOf(stopSignal())
    const startedMs = performance.now()
    const failure = await checks[name].run().then(
      () => undefined,
      (error) => error,
    )
    if (failure !== undefined) failures.push({ name, message: failure.message })
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    console.log(`${failure === undefined ? 'ok    ' : 'FAILED'}  ${name.padEnd(12)}  ${seconds.padStart(6)} s`)
  }
  for (const { name, message } of failures) console.error(`\n--- ${name}\n${message.trimEnd()}`)
  if (failures.length > 0)
    console.error(
      `\n${failures.length} of ${names.length} checks failed: ${failures.map(({ name }) => name).join(', ')}`,
    )
  return failures.length > 0 ? 1 : 0
}
