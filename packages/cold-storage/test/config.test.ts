import { environmentName } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { coldStorageConfig } from '../src/index.js'
import { parseLocation } from '../src/location.js'

const issues = (given: object) =>
  coldStorageConfig.safeParse(given).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? []

describe('the URL', () => {
  it.each([
    ['file:///var/archive', { kind: 'folder', path: '/var/archive' }],
    ['file:///var/archive/', { kind: 'folder', path: '/var/archive' }],
    ['file:///with%20space/%C3%A4', { kind: 'folder', path: '/with space/ä' }],
    ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://bucket/', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://my.bucket-1/some/prefix_1=a+b/', { kind: 's3', bucket: 'my.bucket-1', prefix: 'some/prefix_1=a+b' }],
  ])('may be %s', (url, location) => {
    expect(parseLocation(url)).toEqual(location)
    expect(coldStorageConfig.parse({ url }).url).toBe(url)
  })

  it.each([
    '',
    '/var/archive',
    'file:/var/archive',
    'file://var/archive',
    'file://host/var/archive',
    'file:///',
    'file:////',
    'file:///a%zz',
    'file:///a%00b',
    'file:///a?b',
    'file:///a#b',
    's3:bucket',
    's3://',
    's3:///prefix',
    's3://b',
    's3://bucket//prefix',
    's3://bucket/a/../b',
    's3://bucket/a//b',
    's3://bucket/a b',
    's3://bucket?region=x',
    's3://key:secret@bucket/prefix',
    `s3://bucket/${'x'.repeat(600)}`,
    'https://bucket.s3.amazonaws.com',
    'gs://bucket',
  ])('is refused, with what is allowed: %s', (url) => {
    expect(issues({ url })).toEqual([expect.stringMatching(/^url: file:\/\/\/absolute\/path, or s3:\/\/bucket/)])
  })
})

describe('the options', () => {
  it('have defaults', () => {
    expect(coldStorageConfig.parse({})).toEqual({
      checksum: 'crc32',
      conditionalWrites: true,
      attempts: 4,
      connectTimeout: 5000,
      requestTimeout: 30_000,
    })
  })

  it('are all described, and secret where they are secrets', () => {
    const meta = Object.entries(coldStorageConfig.shape).map(([key, schema]) => {
      const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema
      return { key, description: schema.description, secret: inner.meta()?.['secret'] === true }
    })
    for (const { key, description } of meta) expect(description, key).toMatch(/\.$/)
    expect(meta.filter(({ secret }) => secret).map(({ key }) => key)).toEqual([
      'accessKeyId',
      'secretAccessKey',
      'sessionToken',
    ])
  })

  it('give the keys of the access key together', () => {
    expect(issues({ accessKeyId: 'a' })).toEqual([
      'secretAccessKey: given together with accessKeyId, or neither of them',
    ])
    expect(issues({ secretAccessKey: 'a' })).toEqual([
      'accessKeyId: given together with secretAccessKey, or neither of them',
    ])
    expect(issues({ sessionToken: 'a' })).toEqual(['sessionToken: given together with accessKeyId, or not at all'])
    expect(issues({ accessKeyId: 'a', secretAccessKey: 'b', sessionToken: 'c' })).toEqual([])
  })

  it.each(['ftp://host', 'https://user:pass@host', 'https://host?x', 'https://host#x', 'host:9000', ''])(
    'refuse the endpoint %s',
    (endpoint) => {
      expect(issues({ endpoint })).toEqual([expect.stringMatching(/^endpoint: an http:\/\/ or https:\/\/ URL/)])
    },
  )

  it('take an endpoint with port and path', () => {
    expect(issues({ endpoint: 'http://127.0.0.1:9000' })).toEqual([])
    expect(issues({ endpoint: 'https://minio.example.org/base' })).toEqual([])
  })

  it('have the names of the environment that the documentation says', () => {
    expect(Object.keys(coldStorageConfig.shape).map((key) => environmentName(['cold-storage', key]))).toEqual([
      'COLD_STORAGE_URL',
      'COLD_STORAGE_ENDPOINT',
      'COLD_STORAGE_REGION',
      'COLD_STORAGE_PATH_STYLE',
      'COLD_STORAGE_ACCESS_KEY_ID',
      'COLD_STORAGE_SECRET_ACCESS_KEY',
      'COLD_STORAGE_SESSION_TOKEN',
      'COLD_STORAGE_CHECKSUM',
      'COLD_STORAGE_CONDITIONAL_WRITES',
      'COLD_STORAGE_ATTEMPTS',
      'COLD_STORAGE_CONNECT_TIMEOUT',
      'COLD_STORAGE_REQUEST_TIMEOUT',
    ])
  })
})
