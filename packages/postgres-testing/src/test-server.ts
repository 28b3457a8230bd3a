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
