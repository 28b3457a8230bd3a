import type { OptionType } from '../option-types.js'
import { core, definition, layers, metaOf, type Schema } from './schema-reading.js'

/** Advice for the usual slips with a value, or undefined. Never called with secrets. */
export function hintFor(schema: Schema, given: unknown, fromText: boolean): string | undefined {
  const { optionType } = metaOf(schema)
  if (optionType !== undefined) return unitHint(optionType, given)
  const alternatives = definition(core(schema)).options
  if (alternatives !== undefined) {
    for (const alternative of alternatives) {
      const hint = hintFor(alternative, given, fromText)
      if (hint !== undefined) return hint
    }
    return undefined
  }
  return fromText ? undefined : quotingHint(schema, given)
}

function quotingHint(schema: Schema, given: unknown): string | undefined {
  const types = layers(schema).map((layer) => definition(layer).type)
  if (typeof given === 'string') {
    const isNumber = types.includes('number') && /^-?\d+(\.\d+)?$/.test(given)
    const isBoolean = types.includes('boolean') && /^(true|false)$/.test(given)
    if (isNumber || isBoolean) return 'leave out the quotes'
    return types.includes('array') ? "write a list: ['a', 'b']" : undefined
  }
  const isScalar = typeof given === 'number' || typeof given === 'boolean'
  return isScalar && types.includes('string') ? `put quotes around it: '${given}'` : undefined
}

interface Slip {
  readonly written: RegExp
  /** What to write in place of it. */
  readonly advice: (amount: string, unit: string) => string
}

const slip = (written: RegExp, advice: (amount: string, unit: string) => string): Slip => ({ written, advice })

const bare = /^$/

/** Units that people use elsewhere: Kubernetes (`64Mi`), PostgreSQL (`64MB`, `5 min`), shells (`64M`). First match wins. */
const slips: Readonly<Record<OptionType, readonly Slip[]>> = {
  duration: [
    slip(bare, (amount) => `write the unit: '${amount}ms', '${amount}s', '${amount}m', '${amount}h' or '${amount}d'`),
    slip(/^milli\w*$|^MS$/i, (amount) => `write '${amount}ms'`),
    slip(/^s(ec\w*)?$/i, (amount) => `write '${amount}s'`),
    slip(/^m(in\w*)?$/i, (amount) => `write '${amount}m'`),
    slip(/^h(ou)?rs?$|^h$/i, (amount) => `write '${amount}h'`),
    slip(/^d(ays?)?$/i, (amount) => `write '${amount}d'`),
  ],
  size: [
    slip(
      bare,
      (amount) => `write the unit: '${amount}B', '${amount}kB', '${amount}KiB', '${amount}MiB' or '${amount}GiB'`,
    ),
    slip(/^b(ytes?)?$/i, (amount) => `write '${amount}B'`),
    slip(/^ki?b?$/i, (amount) => `write '${amount}KiB' (1024 bytes each) or '${amount}kB' (1000 bytes each)`),
    slip(/^mi?b?$/i, (amount) => `write '${amount}MiB' (powers of 1024) or '${amount}MB' (powers of 1000)`),
    slip(/^gi?b?$/i, (amount) => `write '${amount}GiB' (powers of 1024) or '${amount}GB' (powers of 1000)`),
    slip(/^ti?b?$/i, (amount) => `write '${amount}TiB' (powers of 1024) or '${amount}TB' (powers of 1000)`),
  ],
  period: [
    slip(bare, (amount) => `write the unit: '${amount} days', '${amount} months' or '${amount} years'`),
    slip(/^d$/i, (amount) => `write '${amount} days'`),
    slip(/^w(ks?)?$/i, (amount) => `write '${amount} weeks'`),
    slip(/^mo?n?s?$/i, (amount) => `write '${amount} months'`),
    slip(/^y(rs?)?$/i, (amount) => `write '${amount} years'`),
  ],
  schedule: [
    slip(bare, (amount) => `for an interval write 'every ${amount}m'`),
    slip(/^(ms|s|m|h|d)$/, (amount, unit) => `for an interval write 'every ${amount}${unit}'`),
  ],
}

function unitHint(optionType: OptionType, given: unknown): string | undefined {
  if (typeof given !== 'string' && typeof given !== 'number') return undefined
  const text = String(given).trim()
  const [, amount, unit = ''] = /^(\d{1,9}(?:\.\d{1,9})?) ?([A-Za-z]*)$/.exec(text) ?? []
  if (amount === undefined) return undefined
  const advice = slips[optionType].find(({ written }) => written.test(unit))?.advice(amount, unit)
  // Advice to write what was written would mean that the value is out of range, not ill-formed.
  return advice?.includes(`'${text.replace(' ', '')}'`) ? undefined : advice
}
