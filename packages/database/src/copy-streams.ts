/** COPY to and from the client, over a connection that holds a transaction. The protocol's own package is loaded when it is first needed. */
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { UnitOfWork } from './contract.js'
import { DatabaseError } from './database-error.js'
import type { PgConnection } from './pg-connection.js'
import { assertCopy } from './statement-guard.js'
import { limitsOf } from './unit-of-work.js'

/** The statement's timeout ends a COPY, too, so the margin on top of it is the client's limit for the whole of it. */
export async function copyFrom(
  connection: PgConnection,
  unit: UnitOfWork,
  statement: string,
  source: AsyncIterable<Uint8Array>,
): Promise<void> {
  assertCopy(statement, 'in')
  const { from } = await import('./copy-protocol.js')
  await connection.exclusively(() =>
    connection.supervise(async () => {
      const target = connection.submit(from(statement))
      await pipeline(source, target, ...(unit.signal ? [{ signal: unit.signal }] : []))
    }, limitsOf(unit)),
  )
}

/**
 * The bytes of COPY … TO STDOUT, with the server held back while the reader is slow. Leaving the loop early cancels the COPY, and with it
 * the transaction: nothing else can be read from it afterwards.
 */
export async function* copyTo(
  connection: PgConnection,
  unit: UnitOfWork,
  statement: string,
  assertOpen: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  assertOpen()
  assertCopy(statement, 'out')
  const { to } = await import('./copy-protocol.js')
  let begun: (stream: Readable) => void = () => undefined
  let refused: (error: unknown) => void = () => undefined
  const streamReady = new Promise<Readable>((resolve, reject) => {
    begun = resolve
    refused = reject
  })
  const left = new AbortController()
  const signal = unit.signal ? AbortSignal.any([unit.signal, left.signal]) : left.signal
  // The connection is ours until the COPY has ended on the server, whatever becomes of the loop below.
  const done = connection.exclusively(() =>
    connection.supervise(
      async () => {
        const stream = connection.submit(to(statement))
        begun(stream)
        // Not `finished`: that would count an early end of the loop as an end of the COPY.
        await Promise.race([
          once(stream, 'end'),
          once(stream, 'error').then(([error]) => Promise.reject(error as Error)),
        ])
      },
      { ...limitsOf(unit), signal },
    ),
  )
  done.catch(refused)
  const stream = await streamReady
  // Errors reach the reader through `done`, which knows why.
  stream.on('error', () => undefined)
  let complete = false
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
      unit.signal?.throwIfAborted()
      yield chunk
    }
    complete = true
  } finally {
    if (!complete) {
      // The server notices the cancel only when it can write: what it still sends is read and thrown away.
      left.abort(new DatabaseError('session-ended', 'the COPY was left before its end'))
      stream.removeAllListeners('readable')
      stream.resume()
      await done.catch(() => undefined)
    }
  }
  await done
}
