import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificates {
  /** Files, PEM. */
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

/** A certificate authority and a certificate of it for 127.0.0.1 and localhost, in the folder. Undefined where openssl is not installed. */
export async function makeCertificates(folder: string): Promise<Certificates | undefined> {
  const file = (name: string) => join(folder, name)
  const openssl = (...args: readonly string[]) => run('openssl', [...args], { cwd: folder })
  const isThere = await openssl('version').then(
    () => true,
    () => false,
  )
  if (!isThere) return undefined
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await openssl('req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=test CA', '-keyout', 'ca.key', '-out', 'ca.pem')
  await openssl('req', ...newKey, '-subj', '/CN=localhost', '-keyout', 'server.key', '-out', 'server.csr')
  await writeFile(file('names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names']
  await openssl('x509', '-req', '-in', 'server.csr', ...signing, '-out', 'server.pem')
  return { ca: file('ca.pem'), certificate: file('server.pem'), key: file('server.key') }
}
