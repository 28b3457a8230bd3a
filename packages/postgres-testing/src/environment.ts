/** Everything that this package reads from the environment. The only file here that touches `process.env`. */

export const defaultMajor = 15

export type Major = 15 | 17

/** A server that somebody else runs: `TEST_DATABASE_URL_15`, `TEST_DATABASE_URL_17`, or `TEST_DATABASE_URL` for either. */
export function givenServerUrls(major: Major): readonly string[] {
  return [process.env[`TEST_DATABASE_URL_${major}`], process.env['TEST_DATABASE_URL']].filter(
    (url): url is string => url !== undefined && url !== '',
  )
}

/** `TEST_POSTGRES=embedded` leaves containers out even where Docker answers. */
export function containersWanted(): boolean {
  return process.env['TEST_POSTGRES'] !== 'embedded'
}

export function dockerHost(): string | undefined {
  return process.env['DOCKER_HOST'] || undefined
}

/** Testcontainers' own reaper needs a second image: without a registry it cannot be had. `container.ts` has its own. */
export function disableReaperUnlessChosen(): void {
  process.env['TESTCONTAINERS_RYUK_DISABLED'] ??= 'true'
}

interface SharedServerVariables {
  readonly url: string
  readonly pid: number | undefined
  readonly dataDir: string | undefined
}

const sharedVariable = (major: Major, part: 'URL' | 'PID' | 'DATA_DIR'): string => `POSTGRES_TESTING_${major}_${part}`

/** How the global setup hands its server to the test workers, which inherit the environment. */
export function publishSharedServer(major: Major, server: SharedServerVariables): void {
  process.env[sharedVariable(major, 'URL')] = server.url
  if (server.pid !== undefined) process.env[sharedVariable(major, 'PID')] = String(server.pid)
  if (server.dataDir !== undefined) process.env[sharedVariable(major, 'DATA_DIR')] = server.dataDir
}

export function withdrawSharedServer(major: Major): void {
  for (const part of ['URL', 'PID', 'DATA_DIR'] as const) delete process.env[sharedVariable(major, part)]
}

export function publishedSharedServer(major: Major): SharedServerVariables | undefined {
  const url = process.env[sharedVariable(major, 'URL')]
  if (url === undefined) return undefined
  const pid = process.env[sharedVariable(major, 'PID')]
  return {
    url,
    pid: pid === undefined ? undefined : Number(pid),
    dataDir: process.env[sharedVariable(major, 'DATA_DIR')],
  }
}
