/**
 * Builds every public package and packs it as it would be published.
 * Usage: node scripts/pack.mjs DESTINATION
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { packAll } from './checks/public-packages.mjs'
import { capture, environmentWithPnpm, requireNode, root } from './pnpm.mjs'

requireNode()
const [destination, ...rest] = process.argv.slice(2)
if (destination === undefined || rest.length > 0) {
  console.error('usage: node scripts/pack.mjs DESTINATION')
  process.exit(64)
}
const env = environmentWithPnpm()
try {
  if (!existsSync(join(root, 'node_modules/.modules.yaml')))
    await capture('pnpm', ['install', '--frozen-lockfile'], { env })
  await capture('node_modules/.bin/turbo', ['run', 'build', '--output-logs=errors-only'], { env })
  mkdirSync(resolve(destination), { recursive: true })
  for (const { tarball } of await packAll(root, resolve(destination), env)) console.log(tarball)
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
