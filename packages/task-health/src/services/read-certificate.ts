/** Reads the certificate that a TLS server shows, and nothing else. */
import { isIP } from 'node:net'
import { connect } from 'node:tls'

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/**
 * When the certificate of a server expires. It need not be trusted: whether it is, whoever connects in earnest finds out; here an
 * expired one, or one of an unknown authority, must be readable as well. Nothing is sent after the handshake.
 */
export function readCertificateExpiry({ host, port }: Endpoint, signal: AbortSignal): Promise<Date> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false, ...(isIP(host) === 0 ? { servername: host } : {}) })
    const abort = () => {
      socket.destroy(signal.reason as Error)
    }
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    socket.once('close', () => {
      signal.removeEventListener('abort', abort)
      reject(new Error('the connection ended before the handshake'))
    })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      const { valid_to: validTo } = socket.getPeerCertificate()
      socket.destroy()
      const expiresAt = new Date(validTo)
      if (Number.isNaN(expiresAt.getTime())) reject(new Error('it shows no certificate'))
      else resolve(expiresAt)
    })
  })
}
