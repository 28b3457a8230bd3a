import { StoreError, type ByteRange } from './store.js'

/** Keys of S3 hold 1024 bytes, the prefix included. */
const maxKeyBytes = 1024
/** File systems hold 255 bytes in one part of a path. */
const maxPartBytes = 255

const part = /^[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*$/
const allowed =
  "parts of A-Z a-z 0-9 . _ = + - joined by '/', none of them empty, longer than 255 characters or beginning with '.'"

/** Whether an object may have this name. */
export function isObjectName(name: string): boolean {
  return name.length <= maxKeyBytes && name.split('/').every((each) => each.length <= maxPartBytes && part.test(each))
}

/** @throws StoreError `store-invalid-name` */
export function checkName(name: string, prefix = ''): void {
  if (!isObjectName(name)) {
    throw new StoreError('store-invalid-name', `not a name of an object: ${JSON.stringify(shortened(name))}`, {
      hint: `a name consists of ${allowed}`,
    })
  }
  if (prefix.length + name.length > maxKeyBytes) {
    throw new StoreError('store-invalid-name', `the name ${JSON.stringify(shortened(name))} is too long`, {
      hint: `name and prefix together have at most ${maxKeyBytes} characters`,
    })
  }
}

/** A prefix is the beginning of a name: its last part may be unfinished or empty. @throws StoreError `store-invalid-name` */
export function checkPrefix(prefix: string): void {
  const last = prefix.lastIndexOf('/') + 1
  const folder = prefix.slice(0, Math.max(0, last - 1))
  const rest = prefix.slice(last)
  if ((last > 0 && !isObjectName(folder)) || (rest !== '' && !isObjectName(rest)) || prefix.length > maxKeyBytes) {
    throw new StoreError('store-invalid-name', `not the beginning of a name: ${JSON.stringify(shortened(prefix))}`, {
      hint: `a name consists of ${allowed}`,
    })
  }
}

/** @throws StoreError `store-failed` */
export function checkRange(name: string, { first, last }: ByteRange): void {
  if (Number.isSafeInteger(first) && Number.isSafeInteger(last) && first >= 0 && last >= first) return
  throw new StoreError('store-failed', `no range of bytes of ${name}: ${first} to ${last}`, {
    hint: 'both ends are inclusive and count from 0',
  })
}

export function rangeBehindEnd(name: string, { first }: ByteRange): StoreError {
  return new StoreError('store-failed', `${name} ends before byte ${first}`)
}

function shortened(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`
}
