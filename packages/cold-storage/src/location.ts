/** What a URL of the cold storage means. */
export type Location =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string }

export const allowedLocations =
  'file:///absolute/path, or s3://bucket or s3://bucket/prefix (the prefix of A-Z a-z 0-9 . _ = + - and /)'

/** The rules of S3 for names of buckets, and the capitals and underscores of old ones. */
const bucketName = /^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/
const prefixPart = /^[A-Za-z0-9._=+-]+$/

/** Undefined for what is none of {@link allowedLocations}. */
export function parseLocation(text: string): Location | undefined {
  if (/^file:/i.test(text)) return parseFolder(text)
  const [, bucket, rest] = /^s3:\/\/([^/]+)(?:\/(.*))?$/is.exec(text) ?? []
  if (bucket === undefined || !bucketName.test(bucket)) return undefined
  const prefix = (rest ?? '').replace(/\/$/, '')
  const parts = prefix === '' ? [] : prefix.split('/')
  if (!parts.every((part) => prefixPart.test(part) && part !== '.' && part !== '..')) return undefined
  // Half of a key is left for the names themselves.
  return prefix.length > 512 ? undefined : { kind: 's3', bucket, prefix }
}

function parseFolder(text: string): Location | undefined {
  if (!/^file:\/\/\/[^/]/i.test(text) || !URL.canParse(text)) return undefined
  const { pathname, search, hash } = new URL(text)
  if (search !== '' || hash !== '') return undefined
  try {
    const path = decodeURIComponent(pathname).replace(/\/+$/, '')
    return path === '' || path.includes('\0') ? undefined : { kind: 'folder', path }
  } catch {
    // A percent sign that encodes nothing.
    return undefined
  }
}
