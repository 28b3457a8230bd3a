import type { ClientFactories, ClientKind, ClientRequest, ReadClient, WriteClient } from '../clients.js'
import { SchedulerError } from '../errors.js'
import type { Requirements } from '../task.js'

type Open = (request: ClientRequest) => Promise<Opened>
type Opened = { readonly read: unknown; readonly write: unknown; close(): Promise<void> }

/** The clients of one task: only what it declared, made at first use, closed at its end. */
export class Clients {
  readonly #request: ClientRequest
  readonly #declared: readonly ClientKind[]
  readonly #factories: ClientFactories
  readonly #dryRun: boolean
  readonly #open = new Map<ClientKind, Promise<Opened>>()

  constructor(request: ClientRequest, requires: Requirements, factories: ClientFactories, dryRun: boolean) {
    this.#request = request
    this.#declared = requires.clients ?? []
    this.#factories = factories
    this.#dryRun = dryRun
  }

  has(kind: ClientKind): boolean {
    return this.#declared.includes(kind) && this.#factories[kind] !== undefined
  }

  async reader<K extends ClientKind>(kind: K): Promise<ReadClient<K>> {
    return (await this.#opened(kind)).read as ReadClient<K>
  }

  async writer<K extends ClientKind>(kind: K): Promise<WriteClient<K>> {
    if (this.#dryRun) throw new SchedulerError('not-in-dry-run', `a dry run gives no writing client '${kind}'`)
    return (await this.#opened(kind)).write as WriteClient<K>
  }

  /** A client that is still being opened is waited for: give this call a limit. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(async (opening) => (await opening).close()))
  }

  #opened(kind: ClientKind): Promise<Opened> {
    if (!this.#declared.includes(kind)) {
      throw new SchedulerError(
        'client-unavailable',
        `task '${this.#request.task}' uses the client '${kind}' without declaring it`,
        {
          hint: `add '${kind}' to the clients that the task's requires() returns`,
        },
      )
    }
    const factory = this.#factories[kind] as Open | undefined
    if (factory === undefined) {
      throw new SchedulerError(
        'client-unavailable',
        `the client '${kind}' that task '${this.#request.task}' needs is not configured`,
      )
    }
    const opening = this.#open.get(kind) ?? factory(this.#request)
    this.#open.set(kind, opening)
    return opening
  }
}
