/** Takes secrets out of every text of a value before it becomes markup: afterwards they could look different. Pure. */
export function scrubbed<T>(value: T, scrub: (text: string) => string): T {
  const walk = (one: unknown): unknown => {
    if (typeof one === 'string') return scrub(one)
    if (Array.isArray(one)) return one.map(walk)
    if (typeof one !== 'object' || one === null || one instanceof Date) return one
    return Object.fromEntries(Object.entries(one).map(([key, inner]) => [key, walk(inner)]))
  }
  return walk(value) as T
}
