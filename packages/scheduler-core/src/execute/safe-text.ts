/**
 * What tasks say, in a form that can be stored. PostgreSQL refuses NUL in text, and jsonb refuses half a surrogate pair; one such
 * character in one task's message must not cost the record of its run. Secrets of the configuration are taken out on the same way.
 */

export interface SafeText {
  text(value: string): string
  /** A copy that jsonb accepts; undefined for what JSON cannot say. */
  json<T>(value: T): T | undefined
}

/** @param scrub takes secrets out of a text. Default: changes nothing. */
export function safeText(scrub: (text: string) => string = (text) => text): SafeText {
  const text = (value: string) => storable(scrub(value))
  const clean = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value)
    if (Array.isArray(value)) return value.map(clean)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [text(key), clean(entry)]))
  }
  return {
    text,
    json: <T>(value: T) => {
      const said = JSON.stringify(value) as string | undefined
      return said === undefined ? undefined : (clean(JSON.parse(said)) as T)
    },
  }
}

const halfSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

function storable(text: string): string {
  return text.replaceAll('\0', '\ufffd').replace(halfSurrogate, '\ufffd')
}
