import pg from 'pg'
import { containerAvailable, startContainer } from './container.js'
import { startEmbedded } from './embedded.js'
import { containersWanted, defaultMajor, givenServerUrls, type Major } from './environment.js'
import type { TestServer, TestServerOptions } from './test-server.js'

/**
 * Starts a throw-away PostgreSQL: the server of `TEST_DATABASE_URL` if that is given and of the wanted major, else a container where
 * Docker answers within two seconds and the image can be had (`TEST_POSTGRES=embedded` leaves this out), else an embedded server.
 * An embedded server ends with this process, however that ends.
 */
export async function startPostgres(options: TestServerOptions & { readonly major?: Major } = {}): Promise<TestServer> {
  const { major = defaultMajor } = options
  if (options.settings === undefined && !options.durable && !options.standby) {
    for (const url of givenServerUrls(major)) {
      const actual = await selectMajor(url)
      // Whoever names no major takes what is given.
      if (options.major === undefined || actual === major)
        return { url, major: actual, source: 'given', stop: async () => undefined }
    }
  }
  if (containersWanted() && !options.standby && (await containerAvailable(major))) return startContainer(major, options)
  return startEmbedded(major, options)
}

async function selectMajor(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    const { rows } = await client.query<{ num: number }>(`select current_setting('server_version_num')::int as num`)
    return Math.floor((rows[0]?.num ?? 0) / 10_000)
  } catch (cause) {
    throw new Error(
      'the server of TEST_DATABASE_URL does not answer; correct the variable, or unset it to get a throw-away server',
      { cause },
    )
  } finally {
    await client.end().catch(() => undefined)
  }
}
