/**
 * Finds the pnpm that `packageManager` pins, on machines that have only Node. Plain Node, no dependencies: it runs before the install.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const { packageManager, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const version = packageManager.replace(/^pnpm@/, '').replace(/\+.*$/, '')

/** Ends the process with a message when Node is older than `engines.node`. */
export function requireNode() {
  const [wantedMajor, wantedMinor] = engines.node.replace(/^>=/, '').split('.').map(Number)
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return
  console.error(`Node ${process.versions.node} is too old: this repository needs Node ${engines.node}.`)
  console.error('HINT: install the current Node 20 LTS or a later one.')
  process.exit(1)
}

/**
 * The environment for child processes: this one, with the pinned pnpm first on PATH (turbo looks for it there, too).
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentWithPnpm() {
  /** @type {NodeJS.ProcessEnv} */
  const environment = {
    ...process.env,
    // pnpm would otherwise try to replace itself by the pinned version, which it already is.
    npm_config_manage_package_manager_versions: 'false',
    TURBO_TELEMETRY_DISABLED: '1',
    TURBO_NO_UPDATE_NOTIFIER: '1',
  }
  const present = spawnSync('pnpm', ['--version'], { cwd: root, env: environment, encoding: 'utf8' })
  if (present.status === 0 && present.stdout.trim() === version) return environment

  console.error(`pnpm ${version} is not on PATH: fetching it through npx`)
  let path
  try {
    const printed = execFileSync('npx', ['--yes', `--package=pnpm@${version}`, '--call', 'echo "PATH=$PATH"'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    path = printed.slice(printed.indexOf('PATH=') + 'PATH='.length).trimEnd()
  } catch (error) {
    console.error(`npx could not fetch pnpm ${version}:`)
    console.error(error.stderr?.trim() || error.message)
    console.error('HINT: a package registry must be reachable, or pnpm of exactly this version be on PATH.')
    process.exit(1)
  }
  const folder = path.split(delimiter).find((entry) => existsSync(join(entry, 'pnpm')) && entry.includes('_npx'))
  if (folder === undefined) {
    console.error(`npx fetched pnpm ${version}, but it is in none of the folders of its PATH: ${path}`)
    process.exit(1)
  }
  return { ...environment, PATH: `${folder}${delimiter}${environment.PATH ?? ''}` }
}

/** @type {readonly NodeJS.Signals[]} */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP']

let stoppedBy

/** The signal that asked this process to stop while it ran a program, if any: whoever runs several starts no further one. */
export const stopSignal = () => stoppedBy

/** The exit code of a process that signal n ended: 128 + n. */
export const exitCodeOf = (signal) => 128 + (constants.signals[signal] ?? 0)

/**
 * Runs a program to its end with the terminal's standard streams. Resolves to its exit code (128 + n for signal n).
 *
 * The child gets a process group of its own, so that Ctrl-C reaches it once, from here: a terminal signals the whole group and npm
 * repeats the signal, and a program that takes a second signal for "now, and at once" would never get to clean up.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} options
 * @returns {Promise<number>}
 */
export async function run(command, args, { env, cwd = root }) {
  return waitFor(spawn(command, args, { cwd, env, detached: true, stdio: 'inherit' }))
}

/**
 * The same without the terminal, for what runs beside something else: resolves to the exit code and what was printed on both streams.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} options
 * @returns {Promise<{ exitCode: number, output: string }>}
 */
export async function runAside(command, args, { env, cwd = root }) {
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => (output += chunk))
  const exitCode = await waitFor(child)
  return { exitCode, output }
}

/**
 * Runs a program to its end without showing what it prints. Resolves to what it printed on both streams.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} options
 * @returns {Promise<string>}
 * @throws an error with the output as message when the exit code is not 0
 */
export async function capture(command, args, options) {
  const { exitCode, output } = await runAside(command, args, options)
  if (exitCode !== 0)
    throw new Error(output.trim() === '' ? `${command} ${args.join(' ')}: exit code ${exitCode}` : output)
  return output
}

/**
 * Waits for the child's end, and hands on the signals that arrive meanwhile.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<number>}
 */
function waitFor(child) {
  return new Promise((resolve, reject) => {
    let lastForwardedMs = -Infinity
    const forward = (signal) => {
      stoppedBy ??= signal
      const nowMs = performance.now()
      // One Ctrl-C arrives as several signals within milliseconds; nobody presses twice that fast.
      if (nowMs - lastForwardedMs < 300) return
      lastForwardedMs = nowMs
      child.kill(signal)
    }
    for (const signal of forwarded) process.on(signal, forward)
    const finish = () => {
      for (const signal of forwarded) process.off(signal, forward)
    }
    child.once('error', (error) => {
      finish()
      reject(error)
    })
    child.once('close', (code, signal) => {
      finish()
      resolve(code ?? exitCodeOf(signal))
    })
  })
}
