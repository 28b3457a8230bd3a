/** One server for a whole test run: started by the global setup, found by the workers through their environment. */
import { defaultMajor, publishedSharedServer, type Major } from './environment.js'
import { startPostgres } from './start-postgres.js'
import type { TestServer } from './test-server.js'

const startedHere = new Map<Major, Promise<TestServer>>()

/**
 * The server of this test run. Without a global setup (or for a major that it did not start) one server per process is started at the
 * first call, and ends with the process.
 */
export function sharedServer(major: Major = defaultMajor): Promise<TestServer> {
  const published = publishedSharedServer(major)
  if (published !== undefined) {
    const { url, pid, dataDir } = published
    return Promise.resolve({
      url,
      major,
      source: pid === undefined ? 'given' : 'embedded',
      ...(pid !== undefined && { pid }),
      ...(dataDir !== undefined && { dataDir }),
      // Whoever started it stops it.
      stop: async () => undefined,
    })
  }
  let server = startedHere.get(major)
  if (server === undefined) {
    server = startPostgres({ major })
    startedHere.set(major, server)
  }
  return server
}
