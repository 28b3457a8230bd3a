import { userInfo } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConnectionStringError, parseConnectionString } from '../src/index.js'

const noTls = { mode: 'prefer', rootCertificate: undefined, certificate: undefined, key: undefined }

describe('parseConnectionString', () => {
  it('reads all parts', () => {
    expect(
      parseConnectionString(
        'postgresql://user:p%40ss%2Fword@db.example:6432/battle%20scope?connect_timeout=7&application_name=mine&sslmode=disable',
      ),
    ).toEqual({
      host: 'db.example',
      port: 6432,
      user: 'user',
      password: 'p@ss/word',
      database: 'battle scope',
      tls: { ...noTls, mode: 'disable' },
      connectTimeoutMs: 7000,
      applicationName: 'mine',
      ignoredParameters: [],
    })
  })

  it('fills in what libpq would, and trims the newline of a mounted secret', () => {
    expect(parseConnectionString('postgres://localhost\n')).toEqual({
      host: 'localhost',
      port: 5432,
      user: userInfo().username,
      password: undefined,
      database: userInfo().username,
      tls: noTls,
      connectTimeoutMs: undefined,
      applicationName: undefined,
      ignoredParameters: [],
    })
  })

  it.each([
    ['postgresql:///db?host=/var/run/postgresql', { host: '/var/run/postgresql', database: 'db' }],
    ['postgresql://%2Fvar%2Frun%2Fpostgresql/db', { host: '/var/run/postgresql', database: 'db' }],
    ['postgresql://u@[2001:db8::1]:5433/db', { host: '2001:db8::1', port: 5433 }],
    [
      'postgresql://ignored/db?host=real&port=5444&user=u&password=p&dbname=d',
      { host: 'real', port: 5444, user: 'u', password: 'p', database: 'd' },
    ],
    ['postgresql://u:#hash@h/db', { password: '#hash', host: 'h' }],
    ['postgresql://u:a:b@h/db', { password: 'a:b', host: 'h' }],
    ['postgresql://u:@h/db', { password: undefined }],
    ['postgresql://h/db?connect_timeout=0', { connectTimeoutMs: undefined }],
    ['postgresql://h/db?ssl=true', { tls: { ...noTls, mode: 'require' } }],
    [
      'postgresql://h/db?sslmode=require&sslrootcert=/ca.pem',
      { tls: { ...noTls, mode: 'require', rootCertificate: '/ca.pem' } },
    ],
    ['postgresql://h/db?sslrootcert=system', { tls: { ...noTls, mode: 'verify-full', rootCertificate: 'system' } }],
    [
      'postgresql://h/db?sslmode=verify-full&sslcert=/c&sslkey=/k',
      { tls: { mode: 'verify-full', rootCertificate: undefined, certificate: '/c', key: '/k' } },
    ],
    [
      'postgresql://h/db?pgbouncer=true&target_session_attrs=any',
      { ignoredParameters: ['pgbouncer', 'target_session_attrs'] },
    ],
  ])('reads %s', (text, parts) => {
    expect(parseConnectionString(text)).toMatchObject(parts)
  })

  it.each([
    ['', 'it is empty'],
    ['   \n', 'it is empty'],
    ['db.example/battlescope', 'it does not begin with postgresql:// or postgres://'],
    ['mysql://h/db', 'its scheme is mysql://'],
    ['postgresql+asyncpg://h/db', 'its scheme is postgresql+asyncpg://'],
    ['POSTGRES://h/db', 'lower case'],
    ['"postgresql://h/db"', 'remove the quotes'],
    ['host=h dbname=db', 'key=value pairs'],
    ['postgresql://', 'it names no host'],
    ['postgresql:///db', '?host=/var/run/postgresql'],
    ['postgresql://a,b/db', 'several hosts'],
    ['postgresql://a:1,b:2/db', 'several hosts'],
    ['postgresql://u:p@ss@h/db', 'cannot be told apart'],
    ['postgresql://u:p@s/s@h/db', 'cannot be told apart'],
    ['postgresql://u:1?p@h/db', 'cannot be told apart'],
    ['postgresql://h:0/db', 'the port 0 is not between 1 and 65535'],
    ['postgresql://h:70000/db', 'the port 70000'],
    ['postgresql://h:x/db', 'the port is not a number'],
    ['postgresql://::1/db', 'brackets'],
    ['postgresql://h/d%zz', "the database has a '%'"],
    ['postgresql://h/d%00', 'NUL'],
    ['postgresql://h/d b', 'white space'],
    ['postgresql://h/db?sslmode=on', 'sslmode is none of disable, allow, prefer, require, verify-ca, verify-full'],
    ['postgresql://h/db?sslmode=require&sslrootcert=system', 'too weak'],
    ['postgresql://h/db?sslmode=verify-ca', 'needs sslrootcert'],
    ['postgresql://h/db?sslcert=/c', 'need each other'],
    ['postgresql://h/db?connect_timeout=5s', 'connect_timeout'],
    ['postgresql://h/db?options=-c%20search_path%3Dx', 'ALTER ROLE'],
  ])('refuses %j', (text, problem) => {
    expect(() => parseConnectionString(text)).toThrow(ConnectionStringError)
    expect(() => parseConnectionString(text)).toThrow(problem)
  })

  it('lists every problem at once', () => {
    try {
      parseConnectionString('postgresql://h:99999/db?sslmode=maybe&connect_timeout=x&options=y')
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ code: 'connection-string', problems: { length: 4 } })
    }
  })

  it('never shows any piece of the password, however it is mangled', () => {
    const secret = 'Zq7secretZq7'
    const mangled = fc
      .array(
        fc.oneof(
          fc.constantFrom('@', '/', ':', '?', '#', '%', '&', '=', ' ', '[', ']', '%zz', ','),
          fc.constant(secret),
        ),
        { minLength: 1, maxLength: 8 },
      )
      .map((parts) => `${secret}${parts.join('')}${secret}`)
    fc.assert(
      fc.property(
        mangled,
        fc.constantFrom('', '?sslmode=wrong', ':x', '/db?connect_timeout=never'),
        (password, rest) => {
          try {
            const { host, ignoredParameters } = parseConnectionString(`postgresql://user:${password}@host${rest}`)
            expect(host + ignoredParameters.join()).not.toContain(secret)
          } catch (error) {
            expect(error).toBeInstanceOf(ConnectionStringError)
            expect(String((error as Error).message)).not.toContain(secret)
            expect(String((error as Error).stack)).not.toContain(secret)
          }
        },
      ),
    )
  })

  it('gives back what was percent-encoded into it', () => {
    const text = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((value) => !value.includes('\0') && !/\p{Surrogate}/u.test(value))
    fc.assert(
      fc.property(text, text, text, (user, password, database) => {
        const url = `postgresql://${[user, password].map(encodeURIComponent).join(':')}@h/${encodeURIComponent(database)}`
        expect(parseConnectionString(url)).toMatchObject({ user, password, database, host: 'h' })
      }),
    )
  })
})
