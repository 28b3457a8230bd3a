import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { coldStorageConfig, openStore, StoreError } from '../src/index.js'
import type { OpenStore } from '../src/store.js'
import { all, collect, MiB, noise, piecesOf, read } from './bodies.js'
import { openStrict, strictConfig } from './open-stores.js'
import { raceToCreate, startProcess } from './processes.js'
import {
  accessKeyId,
  bucket,
  secretAccessKey,
  StrictS3,
  type Misbehaviour,
  type SeenRequest,
} from '../src/strict-s3.js'

/** Starting a process takes a second, on a busy machine several. */
const processesMs = 240_000

let server: StrictS3
let store: OpenStore
const opened: OpenStore[] = []
beforeAll(async () => {
  server = await StrictS3.start()
})
afterAll(() => server.stop())
beforeEach(async () => {
  server.reset()
  store = await open()
})
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})

async function open(changes: Parameters<typeof openStrict>[1] = {}): Promise<OpenStore> {
  const it = await openStrict(server, changes)
  opened.push(it)
  return it
}

const text = (value: string) => Buffer.from(value)
const isPut = ({ method, key, query }: SeenRequest) =>
  method === 'PUT' && !key.includes('.probe-') && !query.has('uploadId')
const isGet = ({ method, key }: SeenRequest) => method === 'GET' && key !== ''
const isPart = ({ method, query }: SeenRequest) => method === 'PUT' && query.has('partNumber')
const isComplete = ({ method, key, query }: SeenRequest) =>
  method === 'POST' && query.has('uploadId') && !key.includes('.probe-')

async function failure(promise: Promise<unknown>): Promise<StoreError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(StoreError)
  return error as StoreError
}

describe('the strict server', () => {
  const ignore = () => undefined
  const raw = () =>
    new S3Client({
      endpoint: server.endpoint,
      forcePathStyle: true,
      region: 'eu-test-1',
      credentials: { accessKeyId, secretAccessKey },
      logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    })
  const send = (command: ConstructorParameters<typeof PutObjectCommand>[0]) => raw().send(new PutObjectCommand(command))
  const at = { Bucket: bucket, Key: 'key' }

  it('refuses wrong checksums', async () => {
    await expect(send({ ...at, Body: 'x', ChecksumCRC32: 'AAAAAA==' })).rejects.toMatchObject({ name: 'BadDigest' })
    await expect(send({ ...at, Body: 'x', ContentMD5: 'XUFAKrxLKna5cZ2REBfFkg==' })).rejects.toMatchObject({
      name: 'BadDigest',
    })
  })

  it('reads chunks with trailers, and refuses wrong ones', async () => {
    await send({ ...at, Body: Readable.from([text('chunked')]), ContentLength: 7 })
    expect(server.objects.get('key')?.body.toString()).toBe('chunked')
    expect(server.seen[0]?.headers['x-amz-trailer']).toBe('x-amz-checksum-crc32')
    const client = raw()
    client.middlewareStack.add(
      (next) => (args) => {
        const body = (args.request as { body: Readable }).body
        const changed = async function* () {
          for await (const chunk of body) yield Buffer.from(String(chunk).replace('chunked', 'chunkeD'))
        }
        return next({ ...args, request: Object.assign(args.request as object, { body: Readable.from(changed()) }) })
      },
      { step: 'finalizeRequest', priority: 'low' },
    )
    const command = new PutObjectCommand({ ...at, Body: Readable.from([text('chunked')]), ContentLength: 7 })
    await expect(client.send(command)).rejects.toMatchObject({ name: 'BadDigest' })
  })

  it('refuses wrong signatures', async () => {
    const wrong = new S3Client({
      endpoint: server.endpoint,
      forcePathStyle: true,
      region: 'eu-test-1',
      credentials: { accessKeyId, secretAccessKey: 'another' },
    })
    await expect(wrong.send(new PutObjectCommand({ ...at, Body: 'x' }))).rejects.toMatchObject({
      name: 'SignatureDoesNotMatch',
    })
  })
})

describe('a request', () => {
  it('carries checksums that the store verifies, in headers, whatever the size', async () => {
    await store.put('small', text('small'))
    await store.put('large', piecesOf(noise(17 * MiB), MiB))
    const bodies = server.seen.filter(({ method }) => method === 'PUT')
    expect(bodies).toHaveLength(4)
    for (const { headers } of bodies) {
      expect(headers['x-amz-checksum-crc32']).toMatch(/^.{8}$/)
      // Not UNSIGNED-PAYLOAD: the signature covers the SHA-256 of the body.
      expect(headers['x-amz-content-sha256']).toMatch(/^[0-9a-f]{64}$/)
      expect(headers['x-amz-trailer']).toBeUndefined()
      expect(headers['content-encoding']).toBeUndefined()
    }
    expect(server.seen.find(({ query }) => query.has('uploads'))?.headers['x-amz-checksum-algorithm']).toBe('CRC32')
  })

  it('carries Content-MD5 instead, for services that refuse the newer headers', async () => {
    server.refusesChecksums = true
    const error = await failure(store.put('small', text('small')))
    expect(error).toMatchObject({
      code: 'store-failed',
      hint: expect.stringContaining('COLD_STORAGE_CHECKSUM=md5') as string,
    })
    server.seen.length = 0
    const older = await open({ checksum: 'md5' })
    await older.put('small', text('small'), { ifAbsent: true })
    await older.put('large', piecesOf(noise(17 * MiB), MiB), { ifAbsent: true })
    expect((await read(older, 'small')).toString()).toBe('small')
    for (const { headers } of server.seen.filter(({ method }) => method === 'PUT')) {
      expect(headers['content-md5']).toMatch(/^.{24}$/)
      expect(headers['x-amz-content-sha256']).toMatch(/^[0-9a-f]{64}$/)
    }
    expect(
      server.seen.flatMap(({ headers }) => Object.keys(headers)).filter((name) => name.includes('checksum')),
    ).toEqual([])
  })

  it('stays below the prefix', async () => {
    await store.put('a/b', text('x'))
    server.objects.set('some/prefix-of-another/a', { ...server.objects.get('some/prefix/a/b')! })
    expect([...server.objects.keys()]).toEqual(['some/prefix/a/b', 'some/prefix-of-another/a'])
    expect((await all(store.list(''))).map(({ name }) => name)).toEqual(['a/b'])
    expect(store.location).toBe(`s3://${bucket}/some/prefix`)
  })

  it('is sent for a bucket without prefix, too', async () => {
    const bare = await open({ url: `s3://${bucket}` })
    await bare.put('a', text('x'), { ifAbsent: true })
    expect([...server.objects.keys()]).toEqual(['a'])
    expect(bare.location).toBe(`s3://${bucket}`)
  })
})

describe('what the store does wrong', () => {
  const once = (on: (request: SeenRequest) => boolean, misbehaviour: Misbehaviour, times = 1) =>
    server.misbehave({ on, misbehaviour, times })
  const status = (code: number, name: string, message?: string): Misbehaviour => ({
    kind: 'status',
    status: code,
    code: name,
    ...(message === undefined ? {} : { message }),
  })

  it.each([
    [500, 'InternalError'],
    [503, 'SlowDown'],
    [503, 'ServiceUnavailable'],
    [502, 'BadGateway'],
  ])('is tried again: %s %s', async (code, name) => {
    once(({ method }) => method === 'PUT', status(code, name), 2)
    await store.put('name', text('value'))
    expect((await read(store, 'name')).toString()).toBe('value')
    expect(server.seen.filter(isPut)).toHaveLength(3)
  })

  it('is tried again, but not for ever', async () => {
    once(() => true, status(500, 'InternalError'), 100)
    const impatient = await open({ attempts: 2 })
    const error = await failure(impatient.put('name', text('value')))
    expect(error).toMatchObject({ code: 'store-unavailable' })
    expect(error.message).toMatch(/cannot write name: InternalError.*status 500 \(sent 2 times\)/)
    expect(server.seen.filter(isPut)).toHaveLength(2)
    expect(await failure(impatient.head('name'))).toMatchObject({ code: 'store-unavailable' })
    expect(await failure(all(impatient.list('')))).toMatchObject({ code: 'store-unavailable' })
    expect(await failure(impatient.delete('name'))).toMatchObject({ code: 'store-unavailable' })
  })

  it.each([
    ['answers', 'hang', ({ method }: SeenRequest) => method === 'HEAD', () => store.head('name')],
    ['is written to', 'hang', ({ method }: SeenRequest) => method === 'PUT', () => store.put('name', text('x'))],
    ['is read from', 'hang-in-body', isGet, () => read(store, 'name')],
  ] as const)('does not hang when it %s', async (_case, kind, on, call) => {
    await store.put('name', noise(300_000))
    store = await open({ requestTimeout: '300ms', attempts: 1 })
    once(on, { kind }, 10)
    const error = await failure(call())
    expect(error).toMatchObject({ code: 'store-unavailable' })
    expect(error.hint).toContain('REQUEST_TIMEOUT')
  })

  it('is that it does not listen', async () => {
    const gone = await StrictS3.start()
    const { endpoint } = gone
    await gone.stop()
    const nobody = await open({ endpoint, attempts: 1 })
    const error = { code: 'store-unavailable', hint: 'nothing listens at the endpoint' }
    expect(await failure(nobody.head('name'))).toMatchObject(error)
  })

  it('is noticed at the end of a read: cut off, or other bytes', async () => {
    await store.put('name', noise(300_000))
    once(isGet, { kind: 'cut-body' })
    expect(await failure(read(store, 'name'))).toMatchObject({ code: 'store-unavailable' })
    once(isGet, { kind: 'flip-byte' })
    expect(await failure(read(store, 'name'))).toMatchObject({ code: 'store-checksum' })
    expect(await read(store, 'name')).toHaveLength(300_000)
    store = await open({ checksum: 'md5' })
    once(isGet, { kind: 'cut-body' })
    expect(await failure(read(store, 'name'))).toMatchObject({ code: 'store-unavailable' })
  })

  it('is noticed after a write: fewer bytes than were sent', async () => {
    once(isPut, { kind: 'lose-byte' })
    expect(await failure(store.put('name', text('value')))).toMatchObject({ code: 'store-checksum' })
  })

  it.each([
    [400, 'BadDigest', 'store-checksum', /changed on the way/],
    [400, 'XAmzContentSHA256Mismatch', 'store-checksum', /changed on the way/],
    [403, 'AccessDenied', 'store-denied', /s3:PutObject/],
    [403, 'SignatureDoesNotMatch', 'store-denied', /secret does not belong/],
    [403, 'InvalidAccessKeyId', 'store-denied', /does not exist/],
    [403, 'RequestTimeTooSkewed', 'store-denied', /clock/],
    [400, 'ExpiredToken', 'store-denied', /expired/],
    [400, 'AuthorizationHeaderMalformed', 'store-denied', /REGION/],
    [301, 'PermanentRedirect', 'store-failed', /REGION/],
    [404, 'NoSuchBucket', 'store-not-found', /make the bucket/],
    [501, 'NotImplemented', 'store-failed', /CHECKSUM=md5/],
    [418, 'SomethingNew', 'store-failed', undefined],
    [403, 'SomethingNew', 'store-denied', /s3:PutObject/],
  ])('has a code and a hint: %s %s', async (code, name, expected, hint) => {
    once(isPut, status(code, name), 10)
    const error = await failure(store.put('name', text('value')))
    expect(error.code).toBe(expected)
    if (hint === undefined) expect(error.hint).toBeUndefined()
    else expect(error.hint).toMatch(hint)
  })

  it('is a refusal that gives no reason, as answers to HEAD', async () => {
    const stranger = await open({ secretAccessKey: 'another-secret' })
    const error = await failure(stranger.head('name'))
    expect(error).toMatchObject({
      code: 'store-denied',
      message: 'cannot look at name: the answer gives no reason, status 403',
      hint: expect.stringContaining('the key or its secret is wrong') as string,
    })
  })

  it('is told apart from an absent object: a bucket that does not exist', async () => {
    const elsewhere = await open({ url: 's3://another-bucket/prefix' })
    const error = await failure(elsewhere.head('name'))
    expect(error).toMatchObject({ code: 'store-not-found', hint: expect.stringContaining('make the bucket') as string })
    expect(error.message).toContain('NoSuchBucket')
  })

  it('is to be somebody else: a proxy with a web page', async () => {
    await store.put('name', text('value'))
    once(() => true, { kind: 'web-page' }, 100)
    const error = { code: 'store-failed', hint: expect.stringContaining('does not speak S3') as string }
    expect(await failure(store.head('name'))).toMatchObject(error)
    expect(await failure(read(store, 'name'))).toMatchObject(error)
    expect(await failure(all(store.list('')))).toMatchObject(error)
    expect(await failure(store.put('other', text('x')))).toMatchObject(error)
    expect(await failure(store.put('other', text('x'), { ifAbsent: true }))).toMatchObject({ code: 'store-failed' })
    expect(await failure(store.put('large', piecesOf(noise(9 * MiB), MiB)))).toMatchObject({ code: 'store-failed' })
    expect(server.objects.size).toBe(1)
  })

  it('ends an upload in parts that fails', async () => {
    once(isPart, status(403, 'AccessDenied'), 1)
    expect(await failure(store.put('large', piecesOf(noise(17 * MiB), MiB)))).toMatchObject({ code: 'store-denied' })
    expect(server.uploads.size).toBe(0)
    expect(server.objects.size).toBe(0)
    once(isPart, status(500, 'InternalError'), 2)
    await store.put('large', piecesOf(noise(17 * MiB), MiB))
    expect(server.uploads.size).toBe(0)
  })

  it('cannot list in another order, or the same page for ever', async () => {
    const { objects } = server
    await store.put('a', text('x'))
    const keys = objects.keys.bind(objects)
    objects.keys = () => [...keys(), 'some/prefix/a', 'some/prefix/a'][Symbol.iterator]()
    try {
      expect(await failure(all(store.list('')))).toMatchObject({ code: 'store-failed' })
    } finally {
      objects.keys = keys
    }
  })
})

describe('a conditional write', () => {
  it('is tried on a store first, once, and leaves nothing of that', async () => {
    await store.put('a', text('x'), { ifAbsent: true })
    const probes = server.seen.filter(({ key }) => key.includes('.probe-')).map(({ method }) => method)
    expect(probes).toEqual(['PUT', 'PUT', 'PUT', 'DELETE'])
    await store.put('b', text('x'), { ifAbsent: true })
    expect(server.seen.filter(({ key }) => key.includes('.probe-'))).toHaveLength(4)
    expect([...server.objects.keys()]).toEqual(['some/prefix/a', 'some/prefix/b'])
  })

  it('is refused by a store that ignores conditions, and says what to do', async () => {
    server.ignoresConditions = true
    const error = await failure(store.put('a', text('x'), { ifAbsent: true }))
    expect(error).toMatchObject({
      code: 'store-failed',
      hint: expect.stringContaining('CONDITIONAL_WRITES=false') as string,
    })
    expect(server.objects.size).toBe(0)
    await store.put('a', text('x'))
    const trusting = await open({ conditionalWrites: false })
    expect(trusting.conditionalWrites).toBe(false)
    expect(await failure(trusting.put('a', text('y'), { ifAbsent: true }))).toMatchObject({ code: 'store-conflict' })
    await trusting.put('b', text('y'), { ifAbsent: true })
    const conditional = server.seen.filter(({ headers }) => headers['if-none-match'] !== undefined)
    expect(conditional.every(({ key }) => key.includes('.probe-'))).toBe(true)
  })

  it('is refused for large objects by a store that ignores conditions of those alone', async () => {
    server.ignoresConditionsOfMultipart = true
    await store.put('small', text('x'), { ifAbsent: true })
    const error = await failure(store.put('large', piecesOf(noise(9 * MiB), MiB), { ifAbsent: true }))
    expect(error.message).toContain('CompleteMultipartUpload')
    expect([...server.objects.keys()]).toEqual(['some/prefix/small'])
    expect(server.uploads.size).toBe(0)
  })

  it.each([
    ['of one request', isPut, 1000],
    ['in parts', isComplete, 9 * MiB],
  ] as const)('whose response got lost has won: %s', async (_case, on, size) => {
    const body = noise(size)
    server.misbehave({ on, misbehaviour: { kind: 'lost-response' } })
    const written = await store.put('name', body, { ifAbsent: true })
    expect(written).toMatchObject({ sizeBytes: size })
    expect((await read(store, 'name')).equals(body)).toBe(true)
    expect(server.uploads.size).toBe(0)
    const other = noise(size)
    server.misbehave({ on, misbehaviour: { kind: 'lost-response' } })
    const replaced = await store.put('name', other, { ifMatch: written.etag })
    expect(replaced.etag).not.toBe(written.etag)
    expect((await read(store, 'name')).equals(other)).toBe(true)
  })

  it('whose response got lost for good has won when the object says so', async () => {
    const impatient = await open({ attempts: 1 })
    server.misbehave({ on: isPut, misbehaviour: { kind: 'lost-response' } })
    await impatient.put('name', text('mine'), { ifAbsent: true })
    expect((await read(store, 'name')).toString()).toBe('mine')
  })

  it('that was sent again and finds the object of another has lost', async () => {
    await store.put('warm', text('x'), { ifAbsent: true })
    // The first attempt fails; before the second one, somebody else writes.
    server.misbehave({
      on: (request) => {
        if (!isPut(request) || !request.key.endsWith('name')) return false
        server.objects.set(request.key, {
          ...server.objects.get('some/prefix/warm')!,
          body: text('another'),
          checksum: undefined,
        })
        return true
      },
      misbehaviour: { kind: 'status', status: 500, code: 'InternalError' },
    })
    expect(await failure(store.put('name', text('mine'), { ifAbsent: true }))).toMatchObject({ code: 'store-conflict' })
    expect((await read(store, 'name')).toString()).toBe('another')
  })

  it('that met another one is sent again, but not for ever', async () => {
    const conflict: Misbehaviour = { kind: 'status', status: 409, code: 'ConditionalRequestConflict' }
    server.misbehave({ on: isPut, misbehaviour: conflict, times: 2 })
    await store.put('name', text('value'), { ifAbsent: true })
    server.misbehave({ on: isPut, misbehaviour: conflict, times: 100 })
    expect(await failure(store.put('other', text('value'), { ifAbsent: true }))).toMatchObject({
      code: 'store-conflict',
    })
  })

  it('of several processes is won by one', { timeout: processesMs }, async () => {
    const config = strictConfig(server)
    const racers = Array.from({ length: 3 }, () => startProcess('create', { config, name: 'race', count: 15 }))
    const makers = await raceToCreate(racers, 15)
    for (const [index, pids] of makers.entries()) {
      expect(pids).toHaveLength(1)
      expect((await read(store, `race/${index}`)).toString()).toBe(`by ${String(pids[0])}`)
    }
    await store.put('counter', text('0'))
    const counters = Array.from({ length: 3 }, () => startProcess('increment', { config, name: 'counter', count: 10 }))
    await Promise.all(counters.map(({ result }) => result))
    expect((await read(store, 'counter')).toString()).toBe('30')
  })
})

describe('unfinished uploads', () => {
  it('are aborted by prefix and age, over several pages', async () => {
    server.pageSize = 2
    const began = (key: string, initiated: Date) => {
      const id = `upload-${server.uploads.size}`
      server.uploads.set(id, { key, id, initiated, meta: {}, parts: new Map() })
    }
    const old = new Date('2026-01-01T00:00:00Z')
    for (let index = 0; index < 5; index++) began(`some/prefix/data/${index % 2}`, old)
    began('some/prefix/data/new', new Date('2026-03-01T00:00:00Z'))
    began('some/prefix/other', old)
    began('elsewhere', old)
    expect(await store.countUnfinishedUploads('data/', new Date('2026-02-01T00:00:00Z'))).toBe(5)
    expect(await store.abortUnfinishedUploads('data/', new Date('2026-02-01T00:00:00Z'))).toBe(5)
    expect(await store.countUnfinishedUploads('data/', new Date('2026-02-01T00:00:00Z'))).toBe(0)
    expect([...server.uploads.values()].map(({ key }) => key)).toEqual([
      'some/prefix/data/new',
      'some/prefix/other',
      'elsewhere',
    ])
    expect(await store.abortUnfinishedUploads('', new Date('2026-04-01T00:00:00Z'))).toBe(2)
    expect(server.uploads.size).toBe(1)
  })

  it('are no error when they are gone meanwhile', async () => {
    server.uploads.set('u', { key: 'some/prefix/a', id: 'u', initiated: new Date(0), meta: {}, parts: new Map() })
    server.misbehave({
      on: ({ method }) => method === 'DELETE',
      misbehaviour: { kind: 'status', status: 404, code: 'NoSuchUpload' },
    })
    expect(await store.abortUnfinishedUploads('', new Date())).toBe(0)
  })
})

describe('secrets', () => {
  const everything = (error: unknown) =>
    [inspect(error, { depth: 10, showHidden: true }), JSON.stringify(error), (error as StoreError).hint].join('\n')

  it('are in no error, even if the service sends them back', async () => {
    const sessionToken = 'token-that-nobody-may-see/+=='
    const withToken = await open({ sessionToken, attempts: 1 })
    const message =
      `secret ${secretAccessKey}, key ${accessKeyId}, token ${sessionToken}, encoded ${encodeURIComponent(secretAccessKey)}, ` +
      `Authorization: AWS4-HMAC-SHA256 Credential=${accessKeyId}/20260101/x, Signature=0123456789abcdef`
    for (const [status, code] of [
      [403, 'SignatureDoesNotMatch'],
      [400, 'Odd'],
      [500, 'InternalError'],
    ] as const) {
      server.misbehave({ on: () => true, times: 100, misbehaviour: { kind: 'status', status, code, message } })
      const errors = [
        await failure(withToken.put('name', text('x'))),
        await failure(withToken.put('name', text('x'), { ifAbsent: true })),
        await failure(read(withToken, 'name')),
        await failure(all(withToken.list(''))),
        await failure(withToken.delete('name')),
      ]
      for (const error of errors) {
        const shown = everything(error)
        for (const secret of [
          secretAccessKey,
          accessKeyId,
          sessionToken,
          encodeURIComponent(secretAccessKey),
          '0123456789abcdef',
        ]) {
          expect(shown).not.toContain(secret)
        }
      }
    }
    expect(withToken.location).not.toContain(accessKeyId)
  })
})

describe('credentials', () => {
  const without = async () => {
    const { url, endpoint, region } = strictConfig(server)
    const it = await openStore(coldStorageConfig.parse({ url, endpoint, region, attempts: 1 }))
    opened.push(it)
    return it
  }
  const names = [
    'AWS_ACCESS_KEY_ID',
    'AWS_SECRET_ACCESS_KEY',
    'AWS_EC2_METADATA_DISABLED',
    'AWS_SHARED_CREDENTIALS_FILE',
    'AWS_CONFIG_FILE',
    'AWS_REGION',
  ] as const
  const before = Object.fromEntries(names.map((name) => [name, process.env[name]]))
  beforeEach(() => {
    for (const name of names) delete process.env[name]
    process.env['AWS_EC2_METADATA_DISABLED'] = 'true'
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = process.env['AWS_CONFIG_FILE'] = '/nonexistent'
  })
  afterEach(() => {
    for (const name of names) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  })

  it('come from the environment', async () => {
    process.env['AWS_ACCESS_KEY_ID'] = accessKeyId
    process.env['AWS_SECRET_ACCESS_KEY'] = secretAccessKey
    const standard = await without()
    await standard.put('name', text('x'), { ifAbsent: true })
    expect(server.objects.size).toBe(1)
    // Keys of the chain are no more to be seen than those of options.
    server.misbehave({
      on: () => true,
      times: 10,
      misbehaviour: { kind: 'status', status: 400, code: 'Odd', message: `secret ${secretAccessKey}` },
    })
    expect((await failure(standard.head('name'))).message).not.toContain(secretAccessKey)
    expect((await failure(standard.put('name', text('x')))).message).not.toContain(secretAccessKey)
  })

  it('are asked for by a hint where there are none', async () => {
    const error = await failure((await without()).put('name', text('x')))
    expect(error).toMatchObject({ code: 'store-denied', hint: expect.stringContaining('service account') as string })
    expect(server.seen).toEqual([])
  })

  it('are signed for the region of the environment, else for us-east-1', async () => {
    const regionOf = async () => {
      const { url, endpoint } = strictConfig(server)
      const it = await openStore(coldStorageConfig.parse({ url, endpoint, accessKeyId, secretAccessKey }))
      opened.push(it)
      server.seen.length = 0
      await it.head('name')
      return /Credential=[^/]+\/\d+\/([^/]+)/.exec(server.seen[0]?.headers['authorization'] ?? '')?.[1]
    }
    expect(await regionOf()).toBe('us-east-1')
    process.env['AWS_REGION'] = 'eu-central-1'
    expect(await regionOf()).toBe('eu-central-1')
  })
})

it('gives back connections of reads that are left, and closes', async () => {
  await store.put('large', noise(4 * MiB))
  for (let round = 0; round < 120; round++) {
    for await (const chunk of store.get('large')) {
      expect(chunk.byteLength).toBeGreaterThan(0)
      break
    }
  }
  expect(await collect(store.get('large', { range: { first: 0, last: 9 } }))).toHaveLength(10)
})

it('takes no more memory for a large object than for a small one', { timeout: processesMs }, async () => {
  server.forgetsParts = true
  const { result } = startProcess('large', { config: strictConfig(server), name: 'large', count: 200 * MiB })
  const { sizeBytes, grownMiB } = (await result) as { sizeBytes: number; grownMiB: number }
  expect(sizeBytes).toBe(200 * MiB)
  expect(grownMiB).toBeLessThan(80)
})
