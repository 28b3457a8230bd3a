/**
 * What `npm run demo` and `npm test` call. Works from a fresh clone with nothing but git and Node: finds pnpm, installs, goes on.
 * Usage: node scripts/with-pnpm.mjs demo|test|check ARGUMENTS
 */
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { environmentWithPnpm, requireNode, root, run } from './pnpm.mjs'

const commands = {
  async demo(args, env) {
    console.log('building')
    const built = await run('node_modules/.bin/turbo', ['run', 'build', '--filter=@battlescope/scheduler...', '--output-logs=errors-only'], {
      env,
      quiet: true,
    })
    if (built !== 0) return built
    // Not through pnpm: it answers a second Ctrl-C with SIGTERM, and loses the demo's own exit code.
    const folder = join(root, 'apps/demo')
    const script = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).scripts.demo
    return run('sh', ['-c', `exec ${script} "$@"`, 'demo', ...args], {
      cwd: folder,
      env: { ...env, INIT_CWD: process.env.INIT_CWD ?? process.cwd(), PATH: `${join(folder, 'node_modules/.bin')}${delimiter}${env.PATH}` },
    })
  },

  async test(args, env) {
    const { runTests } = await import('./run-tests.mjs')
    return runTests(args, { env })
  },

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
// On a machine where everything is there already the install says nothing of interest.
const quiet = existsSync(join(root, 'node_modules/.modules.yaml'))
const installed = await run('pnpm', ['install', '--frozen-lockfile'], { env, quiet })
process.exitCode = installed === 0 ? await command(args, env) : installed
