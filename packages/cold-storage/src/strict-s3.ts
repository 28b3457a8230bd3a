/**
 * A small S3 that is stricter than the fakes: it verifies the signature of each request and every checksum that comes with it, decides
 * conditional writes, and misbehaves on demand. Path style, one bucket, objects in memory.
 */
import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { crc32 } from 'node:zlib'

export const accessKeyId = 'AKIDEXAMPLE00000TEST'
export const secretAccessKey = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
export const bucket = 'archive-test'

export type Misbehaviour =
  | { readonly kind: 'status'; readonly status: number; readonly code: string; readonly message?: string }
  /** As a proxy that asks for a login. */
  | { readonly kind: 'web-page' }
  /** The request is read, and never answered. */
  | { readonly kind: 'hang' }
  /** Head and half of the body, then nothing more. */
  | { readonly kind: 'hang-in-body' }
  /** Head and half of the body, then the connection is closed. */
  | { readonly kind: 'cut-body' }
  /** The request takes effect, and then the connection is closed. */
  | { readonly kind: 'lost-response' }
  /** One byte of what is read is another. */
  | { readonly kind: 'flip-byte' }
  /** Stores one byte less than it was sent, and reports success. */
  | { readonly kind: 'lose-byte' }

export interface Plan {
  readonly on: (request: SeenRequest) => boolean
  readonly times?: number
  readonly misbehaviour: Misbehaviour
}

export interface SeenRequest {
  readonly method: string
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly bodyBytes: number
}

interface Stored {
  readonly body: Buffer
  readonly etag: string
  readonly modifiedAt: Date
  readonly meta: Readonly<Record<string, string>>
  readonly checksum: string | undefined
}

interface Pending {
  readonly key: string
  readonly id: string
  readonly initiated: Date
  readonly meta: Readonly<Record<string, string>>
  readonly parts: Map<
    number,
    { readonly body: Buffer; readonly etag: string; readonly crc: Buffer; readonly size: number }
  >
}

class Refused extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message = code) {
    super(message)
    this.status = status
    this.code = code
  }
}

export class StrictS3 {
  readonly seen: SeenRequest[] = []
  readonly objects = new Map<string, Stored>()
  readonly uploads = new Map<string, Pending>()
  /** Takes conditions of writes for headers of no meaning. */
  ignoresConditions = false
  ignoresConditionsOfMultipart = false
  /** As services that know no x-amz-checksum headers. */
  refusesChecksums = false
  /** Forgets the bytes of parts, so that large uploads do not fill this process. */
  forgetsParts = false
  pageSize = 1000
  #plans: { plan: Plan; left: number }[] = []
  readonly #server = createServer((request, response) => void this.#serve(request, response))
  #next = 1

  static async start(): Promise<StrictS3> {
    const it = new StrictS3()
    await new Promise<void>((resolve) => it.#server.listen(0, '127.0.0.1', resolve))
    return it
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  misbehave(...plans: Plan[]): void {
    this.#plans = plans.map((plan) => ({ plan, left: plan.times ?? 1 }))
  }

  reset(): void {
    this.#plans = []
    this.seen.length = 0
    this.objects.clear()
    this.uploads.clear()
    this.ignoresConditions = this.ignoresConditionsOfMultipart = this.refusesChecksums = this.forgetsParts = false
    this.pageSize = 1000
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const raw = await readBody(request)
      const url = new URL(request.url ?? '/', 'http://host')
      const [, requestedBucket = '', ...rest] = decodeURIComponent(url.pathname).split('/')
      const headers = request.headers as Record<string, string | undefined>
      const seen = {
        method: request.method ?? '',
        key: rest.join('/'),
        query: url.searchParams,
        headers,
        bodyBytes: raw.length,
      }
      this.seen.push(seen)
      const planned = this.#plans.find(({ plan, left }) => left > 0 && plan.on(seen))
      if (planned !== undefined) planned.left--
      const how = planned?.plan.misbehaviour
      if (how?.kind === 'hang') return
      if (how?.kind === 'web-page') {
        response.writeHead(200, { 'content-type': 'text/html' })
        response.end(seen.method === 'HEAD' ? undefined : '<html><body>Log in</body></html>')
        return
      }
      verifySignature(request, raw)
      if (how?.kind === 'status') throw new Refused(how.status, how.code, how.message)
      if (requestedBucket !== bucket) throw new Refused(404, 'NoSuchBucket')
      let body = verifyBody(headers, raw, this.refusesChecksums)
      if (how?.kind === 'lose-byte') body = body.subarray(0, body.length - 1)
      const answer = this.#answer(seen, body)
      if (how?.kind === 'lost-response') {
        request.socket.destroy()
        return
      }
      await send(response, answer, seen.method, how)
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused(500, 'InternalError', String(error))
      response.writeHead(refused.status, { 'content-type': 'application/xml' })
      response.end(
        request.method === 'HEAD'
          ? undefined
          : `<?xml version="1.0"?><Error><Code>${refused.code}</Code><Message>${xml(refused.message)}</Message></Error>`,
      )
    }
  }

  #answer(request: SeenRequest, body: Buffer): Answer {
    const { method, key, query } = request
    const uploadId = query.get('uploadId')
    if (key === '') {
      if (method === 'HEAD') return { status: 200 }
      return query.has('uploads') ? this.#listUploads(query) : this.#list(query)
    }
    if (method === 'POST' && query.has('uploads')) return this.#begin(request)
    if (uploadId !== null) {
      const upload = this.uploads.get(uploadId)
      if (upload?.key !== key) throw new Refused(404, 'NoSuchUpload')
      if (method === 'DELETE') {
        this.uploads.delete(uploadId)
        return { status: 204 }
      }
      return method === 'PUT'
        ? this.#part(upload, Number(query.get('partNumber')), body)
        : this.#complete(request, upload, body)
    }
    if (method === 'PUT') {
      if (!this.ignoresConditions) this.#checkConditions(request)
      const checksum = crcOf(body).toString('base64')
      return this.#store(key, { body, etag: `"${md5(body).toString('hex')}"`, meta: metaOf(request), checksum })
    }
    const found = this.objects.get(key)
    if (method === 'DELETE') {
      this.objects.delete(key)
      return { status: 204 }
    }
    if (found === undefined) throw new Refused(404, method === 'HEAD' ? 'NotFound' : 'NoSuchKey')
    return readAnswer(request, found)
  }

  #checkConditions({ key, headers }: SeenRequest): void {
    const found = this.objects.get(key)
    if (headers['if-none-match'] === '*' && found !== undefined) throw new Refused(412, 'PreconditionFailed')
    const wanted = headers['if-match']
    if (wanted === undefined) return
    if (found === undefined) throw new Refused(404, 'NoSuchKey')
    if (found.etag !== wanted) throw new Refused(412, 'PreconditionFailed')
  }

  #store(key: string, object: Omit<Stored, 'modifiedAt'>): Answer {
    this.objects.set(key, { ...object, modifiedAt: new Date() })
    return { status: 200, headers: { etag: object.etag } }
  }

  #begin(request: SeenRequest): Answer {
    const id = `upload-${String(this.#next++).padStart(5, '0')}`
    this.uploads.set(id, { key: request.key, id, initiated: new Date(), meta: metaOf(request), parts: new Map() })
    return xmlAnswer(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`)
  }

  #part(upload: Pending, number: number, body: Buffer): Answer {
    const etag = `"${md5(body).toString('hex')}"`
    const kept = this.forgetsParts ? Buffer.alloc(0) : body
    upload.parts.set(number, { body: kept, etag, crc: crcOf(body), size: body.length })
    return { status: 200, headers: { etag, 'x-amz-checksum-crc32': crcOf(body).toString('base64') } }
  }

  #complete(request: SeenRequest, upload: Pending, body: Buffer): Answer {
    const text = body.toString()
    const named = [...text.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
      etag: /<ETag>(.*?)</.exec(part)?.[1]?.replaceAll('&quot;', '"'),
      crc: /<ChecksumCRC32>(.*?)</.exec(part)?.[1],
    }))
    const parts = named.map(({ number, etag, crc }, index) => {
      const part = upload.parts.get(number)
      if (part === undefined || number !== index + 1 || part.etag !== etag) throw new Refused(400, 'InvalidPart')
      if (crc !== undefined && crc !== part.crc.toString('base64')) throw new Refused(400, 'InvalidPart', 'checksum')
      if (part.size < 5 * 1024 * 1024 && index < named.length - 1) throw new Refused(400, 'EntityTooSmall')
      return part
    })
    if (!this.ignoresConditions && !this.ignoresConditionsOfMultipart) this.#checkConditions(request)
    this.uploads.delete(upload.id)
    const etag = `"${md5(Buffer.concat(parts.map(({ etag }) => Buffer.from(etag)))).toString('hex')}-${parts.length}"`
    const checksum = `${crcOf(Buffer.concat(parts.map(({ crc }) => crc))).toString('base64')}-${parts.length}`
    const whole = this.forgetsParts
      ? Buffer.alloc(parts.reduce((sum, { size }) => sum + size, 0))
      : Buffer.concat(parts.map(({ body }) => body))
    this.#store(upload.key, { body: whole, etag, meta: upload.meta, checksum })
    return xmlAnswer(`<CompleteMultipartUploadResult><ETag>${xml(etag)}</ETag></CompleteMultipartUploadResult>`)
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? ''
    const after = query.get('continuation-token') ?? ''
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort()
    const page = keys.slice(0, this.pageSize)
    const isTruncated = page.length < keys.length
    const contents = page.map((key) => {
      const stored = this.objects.get(key)
      return `<Contents><Key>${xml(key)}</Key><Size>${stored?.body.length}</Size><ETag>${xml(stored?.etag ?? '')}</ETag><LastModified>${stored?.modifiedAt.toISOString()}</LastModified></Contents>`
    })
    const last = page.at(-1)
    const isLast = !isTruncated || last === undefined
    const next = isLast ? '' : `<NextContinuationToken>${xml(last)}</NextContinuationToken>`
    return xmlAnswer(
      `<ListBucketResult><IsTruncated>${isTruncated}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
    )
  }

  #listUploads(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? ''
    const after = `${query.get('key-marker') ?? ''}\n${query.get('upload-id-marker') ?? ''}`
    const place = ({ key, id }: Pending) => `${key}\n${id}`
    const all = [...this.uploads.values()]
      .filter((upload) => upload.key.startsWith(prefix) && (after === '\n' || place(upload) > after))
      .sort((a, b) => (place(a) < place(b) ? -1 : 1))
    const page = all.slice(0, this.pageSize)
    const isTruncated = page.length < all.length
    const last = page.at(-1)
    const isLast = !isTruncated || last === undefined
    const next = isLast
      ? ''
      : `<NextKeyMarker>${xml(last.key)}</NextKeyMarker><NextUploadIdMarker>${last.id}</NextUploadIdMarker>`
    const uploads = page.map(
      ({ key, id, initiated }) =>
        `<Upload><Key>${xml(key)}</Key><UploadId>${id}</UploadId><Initiated>${initiated.toISOString()}</Initiated></Upload>`,
    )
    return xmlAnswer(
      `<ListMultipartUploadsResult><IsTruncated>${isTruncated}</IsTruncated>${next}${uploads.join('')}</ListMultipartUploadsResult>`,
    )
  }
}

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

function readAnswer({ method, headers }: SeenRequest, { body, etag, modifiedAt, meta, checksum }: Stored): Answer {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers['range'] ?? '') ?? []
  const start = Number(first ?? 0)
  if (first !== undefined && start >= body.length) throw new Refused(416, 'InvalidRange')
  const end = Math.min(last === undefined ? body.length : Number(last) + 1, body.length)
  const wantsChecksum = headers['x-amz-checksum-mode'] === 'ENABLED' && method === 'GET' && checksum !== undefined
  return {
    status: first === undefined ? 200 : 206,
    headers: {
      etag,
      'last-modified': modifiedAt.toUTCString(),
      'content-length': String(end - start),
      ...Object.fromEntries(Object.entries(meta).map(([key, value]) => [`x-amz-meta-${key}`, value])),
      ...(first === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${body.length}` }),
      ...(wantsChecksum ? { 'x-amz-checksum-crc32': checksum } : {}),
    },
    body: body.subarray(start, end),
  }
}

async function send(
  response: ServerResponse,
  answer: Answer,
  method: string,
  how: Misbehaviour | undefined,
): Promise<void> {
  response.writeHead(answer.status, answer.headers)
  if (method === 'HEAD' || answer.body === undefined) {
    response.end()
    return
  }
  const body = Buffer.from(answer.body)
  if (how?.kind === 'flip-byte') body[0] = (body[0] ?? 0) ^ 1
  if (how?.kind === 'hang-in-body' || how?.kind === 'cut-body') {
    await new Promise((resolve) => response.write(body.subarray(0, body.length / 2), resolve))
    if (how.kind === 'cut-body') response.destroy()
    return
  }
  response.end(body)
}

function verifySignature(request: IncomingMessage, body: Buffer): void {
  const { headers, method = '', url = '' } = request
  const [, key, date = '', region = '', signed = '', given] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d+)\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/.exec(
      headers.authorization ?? '',
    ) ?? []
  if (given === undefined) throw new Refused(403, 'AccessDenied', 'no signature of version 4')
  if (key !== accessKeyId) throw new Refused(403, 'InvalidAccessKeyId')
  const [path = '', search = ''] = url.split('?')
  const query = search
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
    .sort()
    .join('&')
  const lines = signed.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`)
  const contentHash = String(headers['x-amz-content-sha256'])
  if (/^[0-9a-f]{64}$/.test(contentHash) && contentHash !== sha256(body))
    throw new Refused(400, 'XAmzContentSHA256Mismatch')
  for (const name of Object.keys(headers).filter((each) => each.startsWith('x-amz-') || each === 'content-md5')) {
    if (!signed.split(';').includes(name)) throw new Refused(403, 'AccessDenied', `${name} is not signed`)
  }
  const canonical = [method, path, query, lines.join(''), signed, contentHash].join('\n')
  const time = String(headers['x-amz-date'])
  const scope = `${date}/${region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(Buffer.from(canonical))].join('\n')
  const hmac = (secret: string | Buffer, text: string) => createHmac('sha256', secret).update(text).digest()
  const signingKey = [region, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${secretAccessKey}`, date))
  if (hmac(signingKey, toSign).toString('hex') !== given) throw new Refused(403, 'SignatureDoesNotMatch')
}

/** Every checksum that is given must be right. */
function verifyBody(headers: SeenRequest['headers'], raw: Buffer, refusesChecksums: boolean): Buffer {
  const named = Object.keys(headers).find(
    (name) => name.startsWith('x-amz-checksum-') || name === 'x-amz-sdk-checksum-algorithm',
  )
  if (refusesChecksums && named !== undefined) {
    throw new Refused(501, 'NotImplemented', `Header '${named}' with value '${headers[named]}' not implemented`)
  }
  const isChunked = headers['content-encoding']?.includes('aws-chunked') === true
  const { body, trailers } = isChunked ? decodeChunks(raw) : { body: raw, trailers: {} as Record<string, string> }
  const crc = headers['x-amz-checksum-crc32'] ?? trailers['x-amz-checksum-crc32']
  if (headers['x-amz-trailer'] !== undefined && trailers[headers['x-amz-trailer']] === undefined) {
    throw new Refused(400, 'MalformedTrailerError')
  }
  if (crc !== undefined && crc !== crcOf(body).toString('base64')) throw new Refused(400, 'BadDigest', 'crc32')
  const md5Given = headers['content-md5']
  if (md5Given !== undefined && md5Given !== md5(body).toString('base64')) throw new Refused(400, 'BadDigest', 'md5')
  const length = headers['x-amz-decoded-content-length'] ?? headers['content-length']
  if (length !== undefined && Number(length) !== body.length) throw new Refused(400, 'IncompleteBody')
  return body
}

/** aws-chunked: size in hex, CRLF, bytes, CRLF, …, a chunk of no bytes, trailers. */
function decodeChunks(raw: Buffer): { readonly body: Buffer; readonly trailers: Record<string, string> } {
  const chunks: Buffer[] = []
  for (let offset = 0; ;) {
    const line = raw.indexOf('\r\n', offset)
    const size = parseInt(raw.subarray(offset, line).toString(), 16)
    const start = line + 2
    if (size === 0) {
      const lines = raw.subarray(start).toString().trim().split('\r\n')
      const trailers = Object.fromEntries(lines.map((each) => each.split(/:(.*)/s).slice(0, 2) as [string, string]))
      return { body: Buffer.concat(chunks), trailers }
    }
    chunks.push(raw.subarray(start, start + size))
    offset = start + size + 2
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function metaOf({ headers }: SeenRequest): Record<string, string> {
  const prefix = 'x-amz-meta-'
  const entries = Object.entries(headers).filter(([name]) => name.startsWith(prefix))
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(prefix.length), value ?? '']))
}

function xmlAnswer(body: string): Answer {
  return {
    status: 200,
    headers: { 'content-type': 'application/xml' },
    body: Buffer.from(`<?xml version="1.0"?>${body}`),
  }
}

function xml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest()
const crcOf = (bytes: Buffer) => {
  const result = Buffer.alloc(4)
  result.writeUInt32BE(crc32(bytes))
  return result
}
