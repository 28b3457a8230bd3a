/** A PostgreSQL container, where Docker answers and its image can be had. */
import { spawn } from 'node:child_process'
import { request } from 'node:http'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Major } from './environment.js'
import { disableReaperUnlessChosen, dockerHost } from './environment.js'
import type { TestServer, TestServerOptions } from './test-server.js'

/** A daemon that is there answers at once; one that is not must not hold up the tests. */
const answerTimeoutMs = 2_000
/** For an image that is not on this machine yet. */
const pullTimeoutMs = 90_000

const imageOfMajor: Record<Major, string> = { 15: 'postgres:15-bookworm', 17: 'postgres:17-bookworm' }

type Daemon = { readonly socketPath: string } | { readonly host: string; readonly port: number }

export function parseDockerHost(value: string | undefined): Daemon | undefined {
  if (value === undefined) return { socketPath: '/var/run/docker.sock' }
  if (value.startsWith('unix://')) return { socketPath: value.slice('unix://'.length) }
  const tcp = /^(?:tcp|http):\/\/(?:\[([^\]]+)\]|([^:/]+))(?::(\d+))?\/?$/.exec(value)
  return tcp ? { host: tcp[1] ?? tcp[2] ?? '', port: Number(tcp[3] ?? 2375) } : undefined
}

/** The answer's status; undefined when nobody answers in time. The body is read to its end, because a pull ends with it. */
function ask(daemon: Daemon, method: string, path: string, timeoutMs: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const outgoing = request({ ...daemon, method, path, signal: AbortSignal.timeout(timeoutMs) }, (answer) => {
      answer.on('end', () => resolve(answer.statusCode))
      answer.on('error', () => resolve(undefined))
      answer.resume()
    })
    outgoing.on('error', () => resolve(undefined))
    outgoing.end()
  })
}

/** Whether a container of this major could be started here and now. */
export async function containerAvailable(
  major: Major,
  host = dockerHost(),
  pullWithinMs = pullTimeoutMs,
): Promise<boolean> {
  const daemon = parseDockerHost(host)
  if (daemon === undefined || (await ask(daemon, 'GET', '/_ping', answerTimeoutMs)) !== 200) return false
  const image = imageOfMajor[major]
  const present = async (): Promise<boolean> =>
    (await ask(daemon, 'GET', `/images/${image}/json`, answerTimeoutMs)) === 200
  if (await present()) return true
  const [name, tag] = image.split(':')
  await ask(daemon, 'POST', `/images/create?fromImage=${name}&tag=${tag}`, pullWithinMs)
  return present()
}

export async function startContainer(major: Major, options: TestServerOptions): Promise<TestServer> {
  disableReaperUnlessChosen()
  // Loaded here because it takes a second, and most machines that run tests never come this far.
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql')
  const settings = {
    max_connections: '200',
    autovacuum: 'off',
    jit: 'off',
    ...(options.durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...options.settings,
  }
  const container = await new PostgreSqlContainer(imageOfMajor[major])
    .withUsername('postgres')
    .withDatabase('postgres')
    .withAutoRemove(true)
    .withCommand(['postgres', ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])])
    .start()
  const release = removeWithThisProcess(container.getId())
  return {
    url: container.getConnectionUri(),
    major,
    source: 'container',
    async stop() {
      await container.stop()
      release()
    },
  }
}

// Its standard input ends when our process does, however that ends.
const guardSource = `
  const [daemon, id] = process.argv.slice(1)
  process.stdin.resume().on('end', () => {
    const remove = { ...JSON.parse(daemon), method: 'DELETE', path: '/containers/' + id + '?force=true' }
    require('node:http').request(remove, (answer) => answer.resume()).on('error', () => undefined).end()
  })`

/** Removes the container when this process ends, as nothing else would. @returns ends the guard, after the container was removed */
function removeWithThisProcess(id: string): () => void {
  const daemon = parseDockerHost(dockerHost())
  if (daemon === undefined) return () => undefined
  const guard = spawn(process.execPath, ['-e', guardSource, JSON.stringify(daemon), id], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // In a group of its own: Ctrl-C is for the tests.
    detached: true,
    env: {},
  })
  guard.on('error', () => undefined)
  guard.unref()
  const input: Writable & Partial<Pick<Socket, 'unref'>> = guard.stdin
  input.on('error', () => undefined)
  input.unref?.()
  return () => {
    input.end()
  }
}
