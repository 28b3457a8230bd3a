/** What one process costs, from outside: by GNU time and the shell's own. */
import { spawnSync } from 'node:child_process'

export interface ProcessCost {
  readonly cpuMs: number
  readonly peakMib: number
  readonly wallMs: number
}

const timeProgram = '/usr/bin/time'

/** Ends this process where GNU time is missing. */
export function needGnuTime(): void {
  if (spawnSync(timeProgram, ['--version']).status === 0) return
  console.error('GNU time is not installed; on Debian: apt-get install time')
  process.exit(69)
}

/** @throws when it ends with another exit code than 0 */
export function measureProcess(command: readonly string[], environment: Readonly<Record<string, string>>): ProcessCost {
  const startedMs = performance.now()
  // GNU time knows the peak memory, but CPU time only in hundredths of a second; the shell's own `time` knows it in milliseconds.
  const shell = ['bash', '-c', 'TIMEFORMAT="cpu %3U %3S"; time "$@"', 'bash', ...command]
  const { stderr, status } = spawnSync(timeProgram, ['-f', 'peak %M', ...shell], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...environment },
    encoding: 'utf8',
  })
  const wallMs = performance.now() - startedMs
  const [, user, system, peak] = /cpu ([\d.]+) ([\d.]+)\npeak (\d+)/.exec(stderr) ?? []
  if (status !== 0 || peak === undefined) throw new Error(`${command.join(' ')}: ${stderr}`)
  return { cpuMs: (Number(user) + Number(system)) * 1000, peakMib: Number(peak) / 1024, wallMs }
}
