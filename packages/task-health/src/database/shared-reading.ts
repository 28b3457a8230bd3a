import type { CheckContext } from '../check.js'

/**
 * One statement for several checks of a run, made by whichever comes first: a run has few round trips, and its checks speak of the same
 * moment. All checks of a run are given the same `now`.
 */
export function sharedReading<T>(read: (context: CheckContext) => Promise<T>): (context: CheckContext) => Promise<T> {
  const made = new WeakMap<Date, Promise<T>>()
  return (context) => {
    const known = made.get(context.now) ?? read(context)
    made.set(context.now, known)
    return known
  }
}
