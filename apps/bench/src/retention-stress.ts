/** The long forms of two tests of retention, which lie with what they test. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const retentionFolder = fileURLToPath(new URL('../../../packages/task-retention', import.meta.url))
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')

/** Kills retention that often with SIGKILL, and tries preflight on so many random schemas; prints what they print. @returns whether both passed */
export async function stressRetention({
  kills,
  schemas,
}: {
  readonly kills: number
  readonly schemas: number
}): Promise<boolean> {
  const killed = await runTest(`RETENTION_KILLS=${kills}`, 'test/crash.test.ts', '-t', 'doubles nothing')
  const tried = await runTest(`RETENTION_SCHEMAS=${schemas}`, 'test/preflight-property.test.ts')
  return killed && tried
}

async function runTest(variable: string, ...argv: readonly string[]): Promise<boolean> {
  const child = spawn('env', [variable, process.execPath, vitest, 'run', ...argv], {
    cwd: retentionFolder,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return code === 0
}
