import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createScrubber, resolveConfiguration, type Section } from '../../src/configuration/index.js'
import { secret } from '../../src/option-types.js'
import { sections } from './sections.js'

const mask = '********'

/** What is left of a text after the secrets of this configuration were taken out. */
function scrubbed(text: string, environment: Record<string, string>, more: readonly Section[] = []): string {
  const scrubber = createScrubber()
  resolveConfiguration({ environment, sections: [...sections, ...more] }).tellSecrets(scrubber)
  return scrubber.scrub(text)
}

describe('a scrubber', () => {
  it.each([
    ['as it is', 'postgres://keeper:correct-horse@db/x', 'auth of correct-horse failed', `auth of ${mask} failed`],
    ['percent-encoded and decoded', 'postgres://k:p%40ss%2Fword@db/x', 'p%40ss%2Fword, p@ss/word', `${mask}, ${mask}`],
    ['with a character that should be encoded', 'postgres://k:pa/ss?word@db/x', 'bad pa/ss?word', `bad ${mask}`],
    ['with an @ behind it', 'postgres://k:correct@db/x?application_name=a@b', 'is correct', `is ${mask}`],
    ['in the query', 'postgres://db/x?user=k&password=correct', 'is correct', `is ${mask}`],
    ['as the whole URL', 'postgres://k:correct@db/x', 'to postgres://k:correct@db/x.', `to ${mask}.`],
  ])('knows the password of a URL %s', (_how, url, text, expected) => {
    expect(scrubbed(text, { DATABASE_URL: url })).toBe(expected)
  })

  it('leaves the user, the host, and a password that is the name of the user', () => {
    const text = 'keeper at db, database battlescope'
    expect(scrubbed(text, { DATABASE_URL: 'postgres://keeper:keeper@db/battlescope' })).toBe(text)
    expect(scrubbed(text, { DATABASE_URL: 'postgres://keeper:other-one@db/battlescope' })).toBe(text)
  })

  it('knows secrets that are parts of values, and what their schema made of them', () => {
    const section: Section = {
      name: 'notify',
      schema: z.object({
        token: secret()
          .transform((text) => text.toUpperCase())
          .describe('x'),
        hooks: z
          .record(z.string(), z.object({ key: secret() }))
          .default({})
          .describe('x'),
      }),
    }
    const environment = {
      DATABASE_URL: 'postgres://db/x',
      SCHEDULER_NOTIFY_TOKEN: 'abc-token',
      SCHEDULER_NOTIFY_HOOKS: '{"a":{"key":"key-of-a"}}',
    }
    expect(scrubbed('abc-token ABC-TOKEN key-of-a', environment, [section])).toBe(`${mask} ${mask} ${mask}`)
  })

  it('knows a secret as it stands in JSON, and in one line', () => {
    const key = '-----BEGIN-----\nab"c\\d\n-----END-----'
    const scrubber = createScrubber()
    scrubber.add([key])
    expect(scrubber.scrub(key)).toBe(mask)
    expect(scrubber.scrub(JSON.stringify({ key }))).toBe(`{"key":"${mask}"}`)
    expect(scrubber.scrub(key.replaceAll('\n', ' '))).toBe(mask)
  })

  it('masks the longer of two secrets whole, and learns more of them', () => {
    const scrubber = createScrubber()
    scrubber.add(['secret-one'])
    scrubber.add(['secret-one-and-more'])
    expect(scrubber.scrub('secret-one-and-more, secret-one')).toBe(`${mask}, ${mask}`)
  })

  it('does not look for what is too short to be told from ordinary words', () => {
    const scrubber = createScrubber()
    scrubber.add(['', '     \n', 'info', 'ready', 'sixsix'])
    expect(scrubber.scrub('info ready sixsix')).toBe(`info ready ${mask}`)
  })
})

describe('problems with secrets', () => {
  const refusing = (meta: object): Section => ({
    name: 'a',
    schema: z.object({
      url: z
        .string()
        .refine(() => false, { error: 'a URL whose port is a number' })
        .meta({ description: 'x', secret: 'url', ...meta }),
    }),
  })
  const expectedOf = (section: Section) =>
    resolveConfiguration({ environment: { SCHEDULER_A_URL: 'x' }, sections: [section] }).problems[0]?.expected

  it('show the words of the schema only when it says that they quote nothing', () => {
    expect(expectedOf(refusing({}))).toBe('text')
    expect(expectedOf(refusing({ quotesNothing: true }))).toBe('a URL whose port is a number')
  })
})
