/** Runs the built program, as cron would. */
import { execa } from 'execa'
import { join } from 'node:path'

export const program = join(import.meta.dirname, '..', 'bin', 'battlescope-scheduler.js')

export interface Ended {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Nothing of the surrounding environment reaches the program but PATH. */
export async function battlescope(
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  options: { readonly nodeOptions?: readonly string[]; readonly timeoutMs?: number } = {},
): Promise<Ended> {
  const { exitCode, stdout, stderr } = await execa(
    process.execPath,
    [...(options.nodeOptions ?? []), program, ...argv],
    {
      env: { PATH: process.env['PATH'] ?? '', ...environment },
      extendEnv: false,
      reject: false,
      timeout: options.timeoutMs ?? 90_000,
    },
  )
  return { exitCode: exitCode ?? -1, stdout, stderr }
}

/** The records of a log. @throws when a line is no JSON. */
export function records(text: string): readonly Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}
