/** One connection to one server, and no more of a driver than this package needs. */

type Argument = string | number
/** Name, subcommand and arguments. */
export type Command = readonly [string, ...Argument[]]

export interface Link {
  /** Replies in order. A reply that is an error is a value: which it concerns is for the caller to judge. Rejects when the connection is gone. */
  sendAll(commands: readonly Command[]): Promise<readonly unknown[]>
  /** MULTI … EXEC. `null` when a watched key was touched. */
  transaction(commands: readonly Command[]): Promise<readonly unknown[] | null>
  close(): void
}

export interface LinkOptions {
  readonly host: string
  readonly port: number
  readonly tls: { readonly ca: string | undefined; readonly serverName: string } | undefined
  readonly connectTimeoutMs: number
}

export type Connect = (options: LinkOptions) => Promise<Link>
