import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { maskUrl } from '../../src/configuration/index.js'
import { showGiven } from '../../src/configuration/problems.js'

describe('a connection string', () => {
  it.each([
    ['postgres://user:hunter2@host/db', 'postgres://user:********@host/db'],
    ['postgresql://user:hunter2@h1,h2/db?sslmode=require', 'postgresql://user:********@h1,h2/db?sslmode=require'],
    ['postgres://user@host/db', 'postgres://user@host/db'],
    ['postgres://host/db', 'postgres://host/db'],
    [
      'postgres://host/db?user=u&password=hunter2&sslpassword=hunter2#x',
      'postgres://host/db?user=u&password=********&sslpassword=********#x',
    ],
    ['redis://:hunter2@cache:6379/0', 'redis://:********@cache:6379/0'],
    ['postgres://user:hun@ter2@host/db', 'postgres://user:********@host/db'],
    ['postgres://user:hun/ter2@host/db', '********'],
    ['postgres://user:12/hunter2@host/db', '********'],
    ['postgres://user:12@34/hunter2@host/db', '********'],
    ['postgres://user:12#hunter2@host/db', '********'],
    ['postgres://user:12?hunter2@host/db', '********'],
    ['user:hunter2@host/db', '********'],
    ['host=x password=hunter2', '********'],
    ['hunter2', '********'],
    ['', '********'],
  ])('%s', (text, shown) => expect(maskUrl(text)).toBe(shown))

  it('never shows its password, however that is written', () => {
    // Capitals and these signs occur nowhere else in the address.
    const character = fc.constantFrom(...'ABCXYZ:@/?#[]%&=+ !\\"'.split(''))
    const password = fc.string({ unit: character, minLength: 1, maxLength: 12 }).map((text) => `SECRET${text}SECRET`)
    fc.assert(
      fc.property(password, fc.boolean(), (each, encoded) => {
        const written = encoded ? encodeURIComponent(each) : each
        expect(maskUrl(`postgres://user:${written}@host:5432/db?sslmode=require`)).not.toContain('SECRET')
      }),
      { numRuns: 1000 },
    )
  })
})

describe('what was given', () => {
  it.each([
    ['text', "'text'"],
    [12, '12'],
    [null, 'null'],
    [{ password: 'x' }, 'a mapping'],
    [['x'], 'a list'],
    ['a\nb\tc', "'a\\nb\\tc'"],
    ['\u001b[2J\u202e\u0000\u009b', "'\\u{1b}[2J\\u{202e}\\u{0}\\u{9b}'"],
    ['x'.repeat(200), `'${'x'.repeat(79)}…'`],
    ['💥'.repeat(200), `'${'💥'.repeat(79)}…'`],
    ['\ud800', "'\\u{d800}'"],
  ])('%j', (value, shown) => expect(showGiven(value)).toBe(shown))
})
