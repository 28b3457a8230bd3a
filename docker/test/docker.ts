/** What the tests of the image need of Docker: whether it is there, and containers that do not outlive the tests. */
import { execa, execaSync } from 'execa'
import { randomBytes } from 'node:crypto'
import { dirname } from 'node:path'

export const repository = dirname(dirname(import.meta.dirname))

/** The Dockerfile's own default. */
export const nodeImage = 'node:20-bookworm-slim'
export const postgresImage = 'postgres:15-bookworm'

/** What this file's containers, networks and images are called, so that two test runs do not meet. */
export const prefix = `battlescope-test-${randomBytes(4).toString('hex')}`

/** Milliseconds: an engine that is there answers at once; an image may have to be fetched. */
const answerMs = 10_000
const pullMs = 180_000

/** The end of a suite's name when it cannot run here; else empty. */
export function whyNoDocker(...images: readonly string[]): string {
  const ask = (args: readonly string[], timeout = answerMs) => execaSync('docker', args, { reject: false, timeout })
  if (ask(['info', '--format', '{{.ServerVersion}}']).exitCode !== 0)
    return ' (skipped: no Docker engine answers; install Docker, or set DOCKER_HOST)'
  for (const image of images) {
    const isHere = () => ask(['image', 'inspect', image]).exitCode === 0
    if (isHere()) continue
    ask(['pull', '--quiet', image], pullMs)
    if (!isHere()) return ` (skipped: the image ${image} cannot be had; docker pull ${image})`
  }
  return ''
}

export interface Ended {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs `docker`; whoever calls looks at the exit code. */
export async function docker(args: readonly string[], input?: string): Promise<Ended> {
  const { exitCode, stdout, stderr } = await execa('docker', args, {
    reject: false,
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
  })
  return { exitCode: exitCode ?? -1, stdout, stderr }
}

/** @returns standard output. @throws with everything that was printed, when it fails. */
export async function dockerOk(args: readonly string[], input?: string): Promise<string> {
  const { exitCode, stdout, stderr } = await docker(args, input)
  if (exitCode !== 0) throw new Error(`docker ${args.join(' ')} ended with ${exitCode}\n${stdout}\n${stderr}`)
  return stdout
}

/** A registry or proxy that only this machine reaches is reached from a build, too. */
const network = ['--network', 'host']

export function buildArguments(tag: string, ...more: readonly string[]): readonly string[] {
  const registry = process.env['NPM_CONFIG_REGISTRY'] === undefined ? [] : ['--build-arg', 'NPM_CONFIG_REGISTRY']
  // The older builder leaves the container of a step that fails.
  return ['build', '--force-rm', ...network, ...registry, '--tag', tag, ...more]
}

export interface PostgresContainer {
  readonly name: string
  /** As containers of the same network reach it. */
  readonly url: string
  sql(text: string): Promise<string>
}

export async function startPostgres(name: string, networkName: string): Promise<PostgresContainer> {
  await dockerOk([
    ...['run', '--detach', '--rm', '--name', name, '--network', networkName],
    ...['--env', 'POSTGRES_USER=battlescope', '--env', 'POSTGRES_PASSWORD=battlescope', postgresImage],
    ...['-c', 'fsync=off', '-c', 'autovacuum=off'],
  ])
  // Over TCP: while the image sets its database up, the server listens on its socket alone.
  const ready = 'until pg_isready --quiet --host=127.0.0.1 --username=battlescope; do sleep 0.2; done'
  await dockerOk(['exec', name, 'sh', '-c', ready])
  return {
    name,
    url: `postgres://battlescope:battlescope@${name}:5432/battlescope`,
    sql: (text) =>
      dockerOk(
        [
          ...['exec', '--interactive', '--env', 'PGPASSWORD=battlescope', name, 'psql', '--no-psqlrc', '--quiet'],
          ...['--tuples-only', '--no-align', '--set=ON_ERROR_STOP=1', '--host=127.0.0.1', '--username=battlescope'],
          '--dbname=battlescope',
        ],
        text,
      ),
  }
}

/** As infra/k8s runs it. */
export const hardened = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'] as const

/** The records of a log; what is no JSON is left out. */
export function records(text: string): readonly Record<string, unknown>[] {
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Record<string, unknown>]
    } catch {
      return []
    }
  })
}
