import { describe, expect, it } from 'vitest'
import { ManifestError, parseManifest, serializeManifest, type Manifest } from '../src/index.js'

const manifest: Manifest = {
  manifestVersion: 1,
  batchId: '1f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a001',
  policy: 'killmails',
  relation: 'public.killmail_events',
  month: '2020-11',
  horizon: new Date('2021-11-23T02:00:00Z'),
  slotId: 'retention@2026-11-23T02:00:00Z',
  state: 'deleted',
  firstAt: new Date('2020-11-01T00:00:00Z'),
  lastAt: new Date('2020-11-30T23:59:59.999Z'),
  verifiedAt: new Date('2026-11-23T02:00:01Z'),
  deletedAt: new Date('2026-11-23T02:00:02Z'),
  database: { systemIdentifier: '7123456789012345678', host: 'main', name: 'battlescope' },
  owner: { ownerId: '3f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a002', generation: 7 },
  objects: [
    {
      relation: 'public.killmail_events',
      part: 0,
      name: 'data/public.killmail_events/month=2020-11/20261123T020000Z-1f0c9a77-0.parquet',
      rowCount: 2,
      sizeBytes: 1234,
      sha256: 'ab'.repeat(32),
      columns: [
        {
          name: 'killmail_id',
          typeName: 'bigint',
          encoding: 'int64',
          list: false,
          notNull: true,
          generated: false,
          checksum: 'cd',
        },
      ],
      firstKey: '["1"]',
      lastKey: '["9007199254740993"]',
    },
  ],
}

describe('a manifest', () => {
  it('comes back as it was written', () => {
    expect(parseManifest(serializeManifest(manifest), 'm')).toEqual(manifest)
  })

  it.each([
    ['no JSON', Buffer.from('{'), /m is no JSON/],
    ['another version', Buffer.from(JSON.stringify({ ...manifest, manifestVersion: 2 })), /wrong manifestVersion/],
    ['a missing part', Buffer.from(JSON.stringify({ ...manifest, objects: [{}] })), /wrong objects\.0/],
  ])('is refused when it is %s', (_, bytes, message) => {
    expect(() => parseManifest(bytes, 'm')).toThrow(message)
    expect(() => parseManifest(bytes, 'm')).toThrow(ManifestError)
  })
})
