import { describe, expect, it } from 'vitest'
import { locationOf, parseRedisUrl } from '../src/redis-url.js'
import { parseClusterSlots, slotOf } from '../src/slots.js'

describe('parseRedisUrl', () => {
  it.each([
    ['redis://cache', { tls: false, addresses: [{ host: 'cache', port: 6379 }], user: 'default', database: 0 }],
    ['rediss://cache:7000/3', { tls: true, addresses: [{ host: 'cache', port: 7000 }], database: 3 }],
    ['redis://:p%40ss@h', { user: 'default', password: 'p@ss' }],
    ['redis://keeper:a:b@h/1', { user: 'keeper', password: 'a:b', database: 1 }],
    ['redis://keeper@h', { user: 'keeper', password: undefined }],
    ['redis://[::1]:6380/', { addresses: [{ host: '::1', port: 6380 }] }],
    [
      'rediss-cluster://u:p@a:1,b:2',
      {
        tls: true,
        cluster: true,
        addresses: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
  ])('reads %s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected)
  })

  it.each([
    'postgres://u:secret@h',
    'secret',
    'redis://u:secret@',
    'redis://u:secret@h:0',
    'redis://u:secret@h:99999',
    'redis://u:secret@a,b',
    'redis://u:secret@h/name',
    'redis://u:secret%@h',
    'redis://u:secret@h?password=secret',
    'redis-cluster://u:secret@h/1',
  ])('refuses %s without quoting it', (url) => {
    const error = (() => {
      try {
        parseRedisUrl(url)
      } catch (thrown) {
        return thrown as { code: string; message: string; hint: string }
      }
      return undefined
    })()
    expect(error?.code).toBe('redis-invalid-url')
    expect(`${error?.message} ${error?.hint}`).not.toContain('secret')
  })

  it('names a place without user and password', () => {
    const show = (url: string) => locationOf(parseRedisUrl(url), parseRedisUrl(url).addresses)
    expect(show('rediss://u:p@h/2')).toBe('rediss://h:6379/2')
    expect(show('redis-cluster://u:p@a:1,[::1]:2')).toBe('redis-cluster://a:1,[::1]:2')
  })
})

describe('slots', () => {
  // The examples of the cluster specification, and its rule for braces.
  it.each([
    ['123456789', 12_739],
    ['foo', 12_182],
    ['{user1000}.following', slotOf('user1000')],
    ['foo{}{bar}', slotOf('foo{}{bar}')],
    ['foo{{bar}}zap', slotOf('{bar')],
    ['foo{bar}{zap}', slotOf('bar')],
  ])('%s is in slot %i', (key, slot) => {
    expect(slotOf(key)).toBe(slot)
  })

  it('takes the asked host where a server does not know its own', () => {
    const asked = { host: 'seed', port: 1 }
    expect(
      parseClusterSlots(
        [
          [0, 5, ['', 7000, 'a']],
          [6, 9, ['h', 7001, 'b']],
        ],
        asked,
      ),
    ).toEqual([
      { first: 0, last: 5, master: { host: 'seed', port: 7000, id: 'a' } },
      { first: 6, last: 9, master: { host: 'h', port: 7001, id: 'b' } },
    ])
  })
})
