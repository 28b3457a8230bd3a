import { classifyFailure, codeOf } from '../errors.js'

/** Milliseconds for one statement on the scheduler's own small tables. */
export const stateStatementTimeoutMs = 10_000

/** Own statements are safe to repeat: each is a compare-and-set by ticket or revision, or an upsert. A lost COMMIT is the caller's. */
export async function retryTransient<T>(attempt: () => Promise<T>, attempts = 3): Promise<T> {
  for (let left = attempts - 1; ; left -= 1) {
    try {
      return await attempt()
    } catch (error) {
      if (left === 0 || codeOf(error) === 'commit-unknown' || classifyFailure(error) !== 'transient') throw error
    }
  }
}
