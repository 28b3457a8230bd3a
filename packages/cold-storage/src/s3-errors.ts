/** What S3 and the way there may answer, in the words of {@link StoreError}. */
import { StoreError, type StoreErrorCode } from './store.js'

interface Meaning {
  readonly code: StoreErrorCode
  readonly hint?: string
}

const credentialsHint =
  'credentials come from the options accessKeyId and secretAccessKey, or else from the standard chain: the environment (AWS_ACCESS_KEY_ID), ' +
  "shared files, web identity (the annotation of a Kubernetes service account), the container's or the instance's metadata service"
const permissionsHint =
  'the key needs s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on the objects and s3:ListBucket, ' +
  's3:ListBucketMultipartUploads on the bucket; without s3:ListBucket, S3 answers 403 for objects that do not exist'
const reasonlessHint = `the key or its secret is wrong, this machine's clock is, or a permission is missing: ${permissionsHint}`
const regionHint = 'set SCHEDULER_COLD_STORAGE_REGION to the region of the bucket'
const checksumHint =
  'bytes were changed on the way: a proxy, a network card or the memory of a machine between here and the store'
const featureHint =
  'the service may not know x-amz-checksum headers (then SCHEDULER_COLD_STORAGE_CHECKSUM=md5 helps) or conditional writes ' +
  '(then SCHEDULER_COLD_STORAGE_CONDITIONAL_WRITES=false, with a prefix of its own for each environment)'

/** By the name that the service or the SDK gives the error. */
const meanings: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { code: 'store-not-found' },
  NotFound: { code: 'store-not-found' },
  NoSuchBucket: {
    code: 'store-not-found',
    hint: 'make the bucket, or correct the URL, the endpoint or the path style',
  },
  PreconditionFailed: { code: 'store-conflict' },
  ConditionalRequestConflict: { code: 'store-conflict' },
  AccessDenied: { code: 'store-denied', hint: permissionsHint },
  Forbidden: { code: 'store-denied', hint: permissionsHint },
  InvalidAccessKeyId: {
    code: 'store-denied',
    hint: 'the access key does not exist (any more), or belongs to another service',
  },
  ExpiredToken: { code: 'store-denied', hint: 'the temporary credentials have expired' },
  InvalidToken: { code: 'store-denied', hint: 'the session token does not belong to the access key' },
  ExpiredTokenException: { code: 'store-denied', hint: 'the temporary credentials have expired' },
  InvalidIdentityToken: { code: 'store-denied', hint: 'the role does not trust this cluster: see its trust policy' },
  CredentialsProviderError: { code: 'store-denied', hint: credentialsHint },
  SignatureDoesNotMatch: {
    code: 'store-denied',
    hint: 'the secret does not belong to the access key, or a proxy rewrites host, path or headers; look for a space or line break in the secret',
  },
  RequestTimeTooSkewed: {
    code: 'store-denied',
    hint: "this machine's clock is wrong by more than 15 minutes: set it by NTP",
  },
  RequestExpired: {
    code: 'store-denied',
    hint: "this machine's clock is wrong by more than 15 minutes: set it by NTP",
  },
  AuthorizationHeaderMalformed: { code: 'store-denied', hint: regionHint },
  PermanentRedirect: { code: 'store-failed', hint: regionHint },
  IllegalLocationConstraintException: { code: 'store-failed', hint: regionHint },
  BadDigest: { code: 'store-checksum', hint: checksumHint },
  InvalidDigest: { code: 'store-checksum', hint: checksumHint },
  XAmzContentSHA256Mismatch: { code: 'store-checksum', hint: checksumHint },
  XAmzContentChecksumMismatch: { code: 'store-checksum', hint: checksumHint },
  IncompleteBody: { code: 'store-unavailable' },
  NotImplemented: { code: 'store-failed', hint: featureHint },
  InvalidArgument: { code: 'store-failed', hint: featureHint },
  InvalidRequest: { code: 'store-failed', hint: featureHint },
  QuotaExceeded: { code: 'store-unavailable', hint: 'the bucket or the account has no room left' },
  XMinioStorageFull: { code: 'store-unavailable', hint: 'the store has no room left' },
  SlowDown: { code: 'store-unavailable', hint: 'the store asks for fewer requests' },
  TimeoutError: {
    code: 'store-unavailable',
    hint: 'no answer in time: the network, or SCHEDULER_COLD_STORAGE_CONNECT_TIMEOUT and SCHEDULER_COLD_STORAGE_REQUEST_TIMEOUT are too short',
  },
}

/** By the code that Node gives the error. */
const networkMeanings: Readonly<Record<string, Meaning>> = {
  ENOTFOUND: {
    code: 'store-unavailable',
    hint: 'the host name of the service is unknown: correct the endpoint, or set SCHEDULER_COLD_STORAGE_PATH_STYLE=true where buckets have no host names',
  },
  EAI_AGAIN: { code: 'store-unavailable', hint: 'the name server does not answer' },
  ECONNREFUSED: { code: 'store-unavailable', hint: 'nothing listens at the endpoint' },
}

export interface S3ErrorFacts {
  readonly name: string
  readonly message: string
  readonly status: number | undefined
  /** How often the request was sent. */
  readonly attempts: number
  readonly networkCode: string | undefined
}

export function factsOf(error: unknown): S3ErrorFacts {
  const it = (error ?? {}) as {
    name?: unknown
    Code?: unknown
    message?: unknown
    code?: unknown
    $metadata?: { httpStatusCode?: number; attempts?: number }
  }
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  const network = typeof it.code === 'string' ? it.code : undefined
  return {
    // Errors that the SDK has no class for keep the service's word in Code.
    name: text(it.Code) || text(it.name) || 'Error',
    message: text(it.message),
    status: it.$metadata?.httpStatusCode,
    attempts: it.$metadata?.attempts ?? 1,
    networkCode: network,
  }
}

/**
 * Keeps secrets out of what is shown. Services quote the request in their answers, and the SDK hangs whole answers onto its errors, so of the
 * original nothing is kept but its redacted text.
 */
export function s3Error(error: unknown, what: string, secrets: readonly string[]): StoreError {
  if (error instanceof StoreError) return error
  const facts = factsOf(error)
  const { code, hint } = meaningOf(facts)
  const detail = isReasonless(facts)
    ? 'the answer gives no reason'
    : redact([facts.name, facts.message].filter((text) => text !== '' && text !== 'Error').join(': '), secrets)
  const sent = facts.attempts > 1 ? ` (sent ${facts.attempts} times)` : ''
  const status = facts.status === undefined ? '' : `, status ${facts.status}`
  return new StoreError(code, `cannot ${what}: ${detail}${status}${sent}`, hint === undefined ? {} : { hint })
}

/** Answers to HEAD have no body that could say more than their status; the SDK then makes up a name. */
function isReasonless({ name, message }: S3ErrorFacts): boolean {
  return name === 'Unknown' && message === 'UnknownError'
}

function meaningOf(facts: S3ErrorFacts): Meaning {
  const { name, message, status, networkCode } = facts
  const own = Object.hasOwn(meanings, name) ? meanings[name] : undefined
  if (own !== undefined) return own
  if (networkCode !== undefined) {
    const network = Object.hasOwn(networkMeanings, networkCode) ? networkMeanings[networkCode] : undefined
    if (network !== undefined) return network
    if (/CERT|TLS|SSL|SELF_SIGNED/.test(networkCode)) {
      return {
        code: 'store-failed',
        hint: 'the certificate of the endpoint is not trusted: give its authority in NODE_EXTRA_CA_CERTS',
      }
    }
    return { code: 'store-unavailable' }
  }
  if (message.startsWith('Checksum mismatch')) return { code: 'store-checksum', hint: checksumHint }
  if (/Connection lost|socket hang up|aborted|premature/i.test(message)) return { code: 'store-unavailable' }
  if (status === undefined) return { code: 'store-failed' }
  if (status === 404) return { code: 'store-not-found' }
  if (status === 412 || status === 409) return { code: 'store-conflict' }
  if (status === 401 || status === 403) {
    return { code: 'store-denied', hint: isReasonless(facts) ? reasonlessHint : permissionsHint }
  }
  if (status === 429 || status >= 500) return { code: 'store-unavailable' }
  return { code: 'store-failed' }
}

/** A web page with status 200 would pass for an empty store or a strange object. */
export function notS3(what: string): StoreError {
  return new StoreError('store-failed', `cannot ${what}: the answer is not one of S3`, {
    hint: 'the endpoint does not speak S3, or a proxy answers in its place',
  })
}

function redact(text: string, secrets: readonly string[]): string {
  const cleaned = secrets
    .filter((secret) => secret.length >= 4)
    .reduce(
      (rest, secret) => rest.replaceAll(secret, '********').replaceAll(encodeURIComponent(secret), '********'),
      text,
    )
    .replace(/((?:signature|credential|security-token|authorization)["']?\s*[=:]\s*["']?)[^\s,;&"'<]+/gi, '$1********')
    .replaceAll(/\s+/g, ' ')
  return cleaned.length <= 400 ? cleaned : `${cleaned.slice(0, 400)}…`
}
