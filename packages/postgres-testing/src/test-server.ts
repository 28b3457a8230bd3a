import pg from 'pg'
import { containerAvailable, startContainer } from './container.js'
import { startEmbedded } from './embedded.js'
import { containersWanted, defaultMajor, givenServerUrls, type Major } from './environment.js'

export interface TestServerOptions {
  /** Server settings beside those chosen for tests, as `postgresql.conf` spells them. A server with settings of its own is never a given one. */
  readonly settings?: Readonly<Record<string, string>>
  /** Keeps fsync, synchronous_commit and full_page_writes on. Default: `false`. */
  readonly durable?: boolean
  /** A server in recovery: a standby that follows nobody and takes no writes. Always embedded. Default: `false`. */
  readonly standby?: boolean
}

export interface TestServer {
  /** Superuser, database `postgres`. */
  readonly url: string
  readonly major: number
  readonly source: 'given' | 'container' | 'embedded'
  /** The postmaster's process id, of an embedded server. */
  readonly pid?: number
  /** Of an embedded server. Its parent folder holds the Unix socket and goes with it. */
  readonly dataDir?: string
  /** Ends the server and removes its files. Does nothing to a given server. */
  stop(): Promise<void>
}

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
