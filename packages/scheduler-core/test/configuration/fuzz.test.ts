import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { resolveConfiguration, type ConfigurationInput } from '../../src/configuration/index.js'
import { sections } from './sections.js'

/** With the secrets that it tells in place of the function that tells them. */
function everythingOf(input: ConfigurationInput) {
  const { tellSecrets, ...resolved } = resolveConfiguration(input)
  const secrets: string[] = []
  tellSecrets({ add: (more) => void secrets.push(...more), scrub: (text) => text })
  return { ...resolved, secrets }
}

const names = resolveConfiguration({ sections, environment: {} }).options
const variables = names.flatMap(({ environment, secret }) =>
  secret ? [environment, `${environment}_FILE`] : [environment],
)
const keys = [
  ...new Set(names.flatMap(({ path }) => path.split('.'))),
  '__proto__',
  'constructor',
  'toString',
  '',
  'retention',
]

const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '1',
    '5m',
    '64MiB',
    '7 days',
    'every-run',
    '0 2 * * *',
    'true',
    '[',
    '{',
    '[1,{}]',
    '{"__proto__":1}',
    'null',
    ',',
  ),
)
const key = fc.oneof(fc.constantFrom(...keys), fc.string())
const { value: anyFile } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.oneof(fc.constant(null), fc.boolean(), fc.double(), fc.integer(), texts),
    fc.array(tie('value'), { maxLength: 4 }),
    // As a parser makes it: a key `__proto__` is a property like any other.
    fc.array(fc.tuple(key, tie('value')), { maxLength: 6 }).map((entries) => Object.fromEntries(entries) as unknown),
  ),
}))
const anyEnvironment = fc.dictionary(
  fc.oneof(
    fc.constantFrom(...variables),
    fc.string().map((name) => `SCHEDULER_${name}`),
    fc.string(),
  ),
  texts,
)
const anyFlags = fc.dictionary(fc.oneof(fc.constantFrom(...names.map(({ path }) => path)), fc.string()), texts)
const anySecretFiles = fc
  .array(fc.tuple(texts, fc.oneof(fc.record({ content: texts }), fc.record({ error: texts }))))
  .map((each) => new Map(each))
const anyInput: fc.Arbitrary<ConfigurationInput> = fc.record({
  sections: fc.constant(sections),
  environment: anyEnvironment,
  file: anyFile,
  flags: anyFlags,
  secretFiles: anySecretFiles,
  allowUnknown: fc.boolean(),
})

describe('whatever is given', () => {
  it('yields values or problems, never an exception, and each problem is one readable line', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const resolved = resolveConfiguration(input)
        for (const { path, given, expected, hint } of resolved.problems) {
          expect(expected).not.toBe('')
          for (const text of [path, given ?? '', expected, hint ?? '']) expect(text).not.toMatch(/[\p{Cc}\p{Cs}]/u)
          expect(given?.length ?? 0).toBeLessThanOrEqual(2 + 80 * '\\u{10ffff}'.length)
        }
        expect(Object.keys(Object.prototype)).toEqual([])
        expect(() => JSON.stringify(resolved.options)).not.toThrow()
        if (resolved.problems.length === 0) expect(Object.keys(resolved.sections)).toEqual(['retention'])
        if (input.allowUnknown === false) expect(resolved.unclaimed).toEqual([])
      }),
      { numRuns: 2000 },
    )
  })

  it('yields the same each time', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        expect(everythingOf(input)).toEqual(everythingOf(input))
      }),
      { numRuns: 300 },
    )
  })

  it('leaves its input as it was', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const before = structuredClone({ file: input.file, environment: input.environment, flags: input.flags })
        resolveConfiguration(input)
        expect({ file: input.file, environment: input.environment, flags: input.flags }).toEqual(before)
      }),
      { numRuns: 300 },
    )
  })
})

describe('a secret', () => {
  // Letters that no word of ours has, so that finding one proves a leak.
  const secret = fc
    .string({
      unit: fc.constantFrom('Ä', 'Ö', 'Ü', 'ß', '@', '/', ':', '%', '"', '\\', ' '),
      minLength: 1,
      maxLength: 20,
    })
    .map((text) => `ÄÖÜÄÖÜ${text}`)
  const leak = /[ÄÖÜß]/

  it('is in no problem and no report, wherever it is given and whatever else is wrong', () => {
    const place = fc.constantFrom('environment', 'file', 'secret file', 'flag', 'wrong key', 'wrong type')
    fc.assert(
      fc.property(anyInput, secret, place, fc.boolean(), (noise, text, where, asUrl) => {
        const value = asUrl ? `postgres://user:${text}@host/db` : text
        const path = 'alerts.pagerduty.routingKey'
        const name = 'SCHEDULER_ALERTS_PAGERDUTY_ROUTING_KEY'
        const ascii = (variable: Record<string, string | undefined>) =>
          Object.fromEntries(Object.entries(variable).filter(([key, each]) => !leak.test(`${key}${each}`)))
        const environment: Record<string, string | undefined> = {
          ...ascii(noise.environment),
          DATABASE_URL: value,
          DATABASE_URL_FILE: '',
        }
        delete environment[name]
        delete environment[`${name}_FILE`]
        const inFile = {
          environment: { retention: { ratio: 5 } },
          'secret file': {},
          flag: {},
          file: { alerts: { pagerduty: { routingKey: value, url: 5 } } },
          'wrong key': { alerts: { pagerduty: { routing: value } } },
          'wrong type': { alerts: { pagerduty: { routingKey: [value, { x: value }] } } },
        }[where]
        if (where === 'environment') environment[name] = value
        if (where === 'secret file') environment[`${name}_FILE`] = '/run/key'
        const resolved = resolveConfiguration({
          sections,
          environment,
          file: inFile,
          flags: where === 'flag' ? { [path]: value, budget: '4' } : {},
          secretFiles: new Map([['/run/key', { content: value }]]),
        })
        expect(JSON.stringify({ problems: resolved.problems, options: resolved.options })).not.toMatch(leak)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('precedence', () => {
  const amount = fc.option(fc.integer({ min: 1, max: 10_000 }), { nil: undefined })

  it('the first source that gives an option wins, whichever others do', () => {
    fc.assert(
      fc.property(amount, amount, amount, (flag, variable, inFile) => {
        const resolved = resolveConfiguration({
          sections,
          environment: {
            DATABASE_URL: 'postgres://host/db',
            SCHEDULER_RETENTION_BATCH_SIZE: variable === undefined ? undefined : String(variable),
          },
          ...(inFile === undefined ? {} : { file: { retention: { batchSize: inFile } } }),
          flags: flag === undefined ? {} : { 'retention.batchSize': String(flag) },
        })
        expect(resolved.problems).toEqual([])
        expect(resolved.sections['retention']?.['batchSize']).toBe(flag ?? variable ?? inFile ?? 1000)
        const source =
          flag !== undefined
            ? 'flag'
            : variable !== undefined
              ? 'environment'
              : inFile !== undefined
                ? 'file'
                : 'default'
        expect(resolved.options.find(({ path }) => path === 'retention.batchSize')?.source).toBe(source)
      }),
    )
  })
})
