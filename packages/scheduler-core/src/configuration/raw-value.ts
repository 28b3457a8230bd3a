/** Deeper or larger values do not come from people; a file of a few bytes can unfold to them by aliases. */
const deepest = 50
const mostEntries = 100_000

/**
 * A copy of a value from a parsed file that shares nothing with it.
 * @returns the copy, or what is wrong with the value.
 */
export function copyRawValue(value: unknown): { readonly value: unknown } | { readonly expected: string } {
  let entries = 0
  let expected: string | undefined
  const copy = (each: unknown, depth: number): unknown => {
    entries += 1
    if (entries > mostEntries) expected = `at most ${mostEntries} entries`
    else if (depth > deepest) expected = `a value at most ${deepest} levels deep`
    if (expected !== undefined) return undefined
    if (Array.isArray(each)) return each.map((entry) => copy(entry, depth + 1))
    if (!isPlainObject(each)) return each
    const result: Record<string, unknown> = {}
    for (const [key, entry] of Object.entries(each)) {
      // Assigning it would replace the prototype of the copy, and of whatever it is merged into later.
      if (key === '__proto__') expected = "no entry named '__proto__'"
      else result[key] = copy(entry, depth + 1)
    }
    return result
  }
  const result = copy(value, 0)
  return expected === undefined ? { value: result } : { expected }
}

/** A deeply frozen copy; what is no plain object or list (a RegExp, a Date) stays as it is. */
export function frozenCopy(value: unknown, copies = new Map<object, unknown>()): unknown {
  if (!Array.isArray(value) && !isPlainObject(value)) return value
  const known = copies.get(value)
  if (known !== undefined) return known
  if (Array.isArray(value)) {
    const list: unknown[] = []
    copies.set(value, list)
    for (const entry of value) list.push(frozenCopy(entry, copies))
    return Object.freeze(list)
  }
  const object: Record<string, unknown> = {}
  copies.set(value, object)
  for (const [key, entry] of Object.entries(value)) {
    const property = { value: frozenCopy(entry, copies), enumerable: true, configurable: true, writable: true }
    Object.defineProperty(object, key, property)
  }
  return Object.freeze(object)
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (value === null || typeof value !== 'object') return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
