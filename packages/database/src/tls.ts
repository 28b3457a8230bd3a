/**
 * From libpq's `sslmode` to Node's TLS options. Node's own TLS is loaded only where it is used: it is a part of each start's cost.
 * https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS
 */
import type { ConnectionOptions } from 'node:tls'
import type { ConnectionTarget } from './connection-string.js'
import { DatabaseError } from './database-error.js'

/** One way to connect: with these TLS options, or without TLS. */
export type TlsAttempt = ConnectionOptions | false

/**
 * What to try, in this order. `allow` is read as `prefer`: both promise nothing, and encryption first is the better guess.
 * A Unix socket never has TLS.
 * @throws DatabaseError `tls-files` when a certificate or key cannot be read
 */
export async function planTlsAttempts({ host, tls }: ConnectionTarget): Promise<readonly TlsAttempt[]> {
  if (tls.mode === 'disable' || host.startsWith('/')) return [false]
  const [ca, cert, key] = await Promise.all([
    tls.rootCertificate === 'system' ? undefined : readPem(tls.rootCertificate, 'sslrootcert'),
    readPem(tls.certificate, 'sslcert'),
    readPem(tls.key, 'sslkey'),
  ])
  const files = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
  const unverified = { ...files, rejectUnauthorized: false }
  const chainOnly = { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  switch (tls.mode) {
    case 'allow':
    case 'prefer':
      return [unverified, false]
    case 'require':
      // libpq, for compatibility with its own past: a root certificate turns require into verify-ca.
      return [tls.rootCertificate === undefined ? unverified : chainOnly]
    case 'verify-ca':
      return [chainOnly]
    case 'verify-full': {
      const { checkServerIdentity } = await import('node:tls')
      // Named here because a TLS socket over an existing connection does not know the host that was asked for.
      return [
        {
          ...files,
          rejectUnauthorized: true,
          checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
        },
      ]
    }
  }
}

async function readPem(path: string | undefined, parameter: string): Promise<Buffer | undefined> {
  if (path === undefined) return undefined
  try {
    const { readFile } = await import('node:fs/promises')
    return await readFile(path)
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new DatabaseError('tls-files', `cannot read the file of ${parameter}: ${path} (${reason})`, {
      hint: 'mount the file, or correct its path in the connection string',
      cause,
    })
  }
}
