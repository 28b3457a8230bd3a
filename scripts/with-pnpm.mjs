/**
 * What `npm run demo` and `npm test` call. Works from a fresh clone with nothing but git and Node: finds pnpm, installs, goes on.
 * Usage: node scripts/with-pnpm.mjs demo|test|build|check ARGUMENTS
 */
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { capture, environmentWithPnpm, exitCodeOf, requireNode, root, run, stopSignal } from './pnpm.mjs'

const commands = {
  async demo(args, env) {
    console.log('building')
    await capture(
      'node_modules/.bin/turbo',
      ['run', 'build', '--filter=@battlescope/scheduler...', '--output-logs=errors-only'],
      { env },
    )
    // Not through pnpm: it answers a second Ctrl-C with SIGTERM, and loses the demo's own exit code.
    const folder = join(root, 'apps/demo')
    const script = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).scripts.demo
    return run('sh', ['-c', `exec ${script} "$@"`, 'demo', ...args], {
      cwd: folder,
      env: {
        ...env,
        INIT_CWD: process.env.INIT_CWD ?? process.cwd(),
        PATH: `${join(folder, 'node_modules/.bin')}${delimiter}${env.PATH}`,
      },
    })
  },

  async test(args, env) {
    const { runTests } = await import('./run-tests.mjs')
    return runTests(args, { env })
  },

  build: (args, env) => run('node_modules/.bin/turbo', ['run', 'build', ...args], { env }),

  check: (args, env) => run(process.execPath, ['scripts/check.mjs', ...args], { env }),
}

requireNode()
const [name, ...args] = process.argv.slice(2)
const command = commands[name]
if (command === undefined) {
  console.error(`usage: node scripts/with-pnpm.mjs ${Object.keys(commands).join('|')} ARGUMENTS`)
  process.exit(64)
}
const env = environmentWithPnpm()
const install = ['install', '--frozen-lockfile']
try {
  // Where everything is there already, an install has nothing to tell.
  if (existsSync(join(root, 'node_modules/.modules.yaml'))) await capture('pnpm', install, { env })
  else if ((await run('pnpm', install, { env })) !== 0) throw new Error('pnpm install failed')
  process.exitCode = await command(args, env)
} catch (error) {
  console.error(error.message)
  process.exitCode = stopSignal() === undefined ? 1 : exitCodeOf(stopSignal())
}
