import { defaultMajor, publishSharedServer, withdrawSharedServer } from './environment.js'
import { startPostgres } from './start-postgres.js'

/** For `globalSetup` of vitest: one PostgreSQL server for all test files of the run. */
export default async function setup(): Promise<() => Promise<void>> {
  const server = await startPostgres()
  publishSharedServer(defaultMajor, { url: server.url, pid: server.pid, dataDir: server.dataDir })
  return async () => {
    withdrawSharedServer(defaultMajor)
    await server.stop()
  }
}
