import { StoreError } from './store.js'

export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/** What a file system could not do. Other errors, as those of a body, are passed on as they are. */
export function folderError(error: unknown, what: string): unknown {
  const code = codeOf(error)
  if (error instanceof StoreError || code === undefined || !(error instanceof Error) || !('syscall' in error))
    return error
  const message = `cannot ${what}: ${code}`
  switch (code) {
    case 'ENOENT':
      return new StoreError('store-not-found', message, { cause: error })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StoreError('store-denied', message, {
        hint: 'the user that the scheduler runs as needs to read, write and make hard links in the folder',
        cause: error,
      })
    case 'ENOSPC':
    case 'EDQUOT':
      return new StoreError('store-unavailable', message, { hint: 'the file system is full', cause: error })
    case 'EXDEV':
      return new StoreError('store-failed', message, {
        hint: 'the folder must be one file system: nothing below it may be mounted from elsewhere',
        cause: error,
      })
    case 'ENOTSUP':
    case 'ENOSYS':
    case 'EMLINK':
      return new StoreError('store-failed', message, { hint: 'the file system must have hard links', cause: error })
    case 'ENAMETOOLONG':
      return new StoreError('store-invalid-name', message, {
        hint: 'the path is longer than the file system allows',
        cause: error,
      })
    case 'EIO':
    case 'ESTALE':
    case 'ETIMEDOUT':
    case 'EMFILE':
    case 'ENFILE':
    case 'EBUSY':
      return new StoreError('store-unavailable', message, { cause: error })
    default:
      return new StoreError('store-failed', message, { cause: error })
  }
}
