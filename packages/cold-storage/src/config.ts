import { duration, secret } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { allowedLocations, parseLocation } from './location.js'

const endpointExpected = 'an http:// or https:// URL without user, password, query and fragment'

/** The options of the program's section `cold-storage`. */
export const coldStorageConfig = z
  .object({
    url: z
      .string()
      .refine((text) => parseLocation(text) !== undefined, { error: allowedLocations })
      .optional()
      .describe('Where archives and backups go: file:///path of a folder that exists, or s3://bucket/prefix.'),
    endpoint: z
      .string()
      .refine(isEndpoint, { error: endpointExpected })
      .optional()
      .describe('URL of an S3-compatible service. Without it Amazon S3, or what the standard AWS configuration names.'),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,64}$/, { error: 'the name of a region, such as eu-central-1' })
      .optional()
      .describe('Region of the bucket. Without it that of the standard AWS configuration, else us-east-1.'),
    pathStyle: z
      .boolean()
      .optional()
      .describe('Bucket in the path of requests instead of the host name. Without it: yes with an endpoint, else no.'),
    accessKeyId: secret()
      .min(1)
      .optional()
      .describe(
        'Access key. Without it the standard chain: environment, shared files, web identity, metadata service.',
      ),
    secretAccessKey: secret().min(1).optional().describe('Secret of the access key; both are given or neither is.'),
    sessionToken: secret().min(1).optional().describe('Token that belongs to a temporary access key.'),
    checksum: z
      .enum(['crc32', 'md5'])
      .default('crc32')
      .describe(
        'What S3 verifies uploads by, beside the signed SHA-256. md5 (Content-MD5) for services that refuse x-amz-checksum headers.',
      ),
    conditionalWrites: z
      .boolean()
      .default(true)
      .describe(
        'S3 decides If-None-Match and If-Match itself (checked once per run). Without it each environment needs a prefix of its own.',
      ),
    attempts: z.number().int().min(1).max(10).default(4).describe('How often one request to S3 is sent at most.'),
    connectTimeout: duration({ min: '10ms', max: '5m' })
      .prefault('5s')
      .describe('How long connecting to S3 may take, per attempt.'),
    requestTimeout: duration({ min: '10ms', max: '30m' })
      .prefault('30s')
      .describe(
        'How long sending a request until its response begins may take, per attempt, and how long a transfer may stand still.',
      ),
  })
  .superRefine((config, context) => {
    const { accessKeyId, secretAccessKey, sessionToken } = config
    if ((accessKeyId === undefined) === (secretAccessKey === undefined)) {
      if (sessionToken === undefined || accessKeyId !== undefined) return
      context.addIssue({
        code: 'custom',
        path: ['sessionToken'],
        message: 'given together with accessKeyId, or not at all',
      })
      return
    }
    const [missing, given] =
      accessKeyId === undefined ? ['accessKeyId', 'secretAccessKey'] : ['secretAccessKey', 'accessKeyId']
    context.addIssue({ code: 'custom', path: [missing], message: `given together with ${given}, or neither of them` })
  })

export type ColdStorageConfig = z.output<typeof coldStorageConfig>

function isEndpoint(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false
  const { username, password, search, hash } = new URL(text)
  return username === '' && password === '' && search === '' && hash === ''
}
