/**
 * The protocol's CancelRequest: on a connection of its own, with the key that the server (or the pooler) gave to this client. Cancelling
 * by process id would hit whoever a pooler has given that server connection to by then.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
import { once } from 'node:events'
import { connect, type NetConnectOpts, type Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'

const sslRequestCode = 80_877_103
const cancelRequestCode = 80_877_102

export interface CancelTarget {
  /** Where the statement's own connection ended, so that a name with several addresses cannot lead elsewhere. */
  readonly endpoint: NetConnectOpts
  /** Absent when the statement's connection is not encrypted. */
  readonly tls?: ConnectionOptions
  readonly processId: number
  readonly secretKey: number
}

/**
 * Asks the server to cancel what the connection is running. Resolves to `true` once the server has closed the request's connection: from
 * then on it can no longer hit a later statement. Resolves to `false` when that could not be known within `timeoutMs`.
 */
export async function sendCancelRequest(target: CancelTarget, timeoutMs: number): Promise<boolean> {
  const sockets: Socket[] = []
  const signal = AbortSignal.timeout(timeoutMs)
  const abort = (): void => sockets.forEach((socket) => socket.destroy(new Error('the cancel request timed out')))
  signal.addEventListener('abort', abort, { once: true })
  try {
    const plain = connect(target.endpoint)
    sockets.push(plain)
    await once(plain, 'connect', { signal })
    let socket: Socket = plain
    if (target.tls !== undefined) {
      plain.write(message(sslRequestCode))
      const [answer] = (await once(plain, 'data', { signal })) as [Buffer]
      if (answer.toString('latin1') !== 'S') return false
      const { connect: connectTls } = await import('node:tls')
      socket = connectTls({ ...target.tls, socket: plain })
      sockets.push(socket)
      await once(socket, 'secureConnect', { signal })
    }
    const closed = once(socket, 'close', { signal })
    // PostgreSQL answers with nothing but the end of the connection, which may come as a reset.
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(message(cancelRequestCode, target.processId, target.secretKey))
    await closed
    return !signal.aborted
  } catch {
    return false
  } finally {
    signal.removeEventListener('abort', abort)
    for (const socket of sockets) {
      socket.on('error', () => undefined)
      socket.destroy()
    }
  }
}

function message(...words: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 + words.length * 4)
  buffer.writeInt32BE(buffer.length, 0)
  words.forEach((word, index) => buffer.writeInt32BE(word, 4 + index * 4))
  return buffer
}
