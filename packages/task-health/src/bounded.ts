/** Waiting that ends: for what heeds no signal itself. */

/**
 * What comes first: the result, or the signal's abort, with its reason. Work that does not heed the signal is left to itself: what it
 * has open ends with limits of its own.
 */
export function unlessAborted<T>(signal: AbortSignal, working: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    working.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort)
    })
  })
}

class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
  readonly code = 'ETIMEDOUT'
}

/** @throws an error with the code `ETIMEDOUT` after so many milliseconds */
export async function within<T>(timeoutMs: number, signal: AbortSignal, working: Promise<T>): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    return await unlessAborted(AbortSignal.any([signal, timeout]), working)
  } catch (error) {
    signal.throwIfAborted()
    throw timeout.aborted ? new NoAnswer(`no answer within ${timeoutMs} ms`) : error
  }
}
