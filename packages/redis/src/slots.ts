/** Hash slots of a cluster: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ Pure. */
import type { Address } from './redis-url.js'

const slotCount = 16_384

/** CRC16 (XMODEM) of the key, or of what stands in its first braces. */
export function slotOf(key: string): number {
  const bytes = Buffer.from(key)
  const open = bytes.indexOf(0x7b)
  const close = open < 0 ? -1 : bytes.indexOf(0x7d, open + 1)
  const hashed = close > open + 1 ? bytes.subarray(open + 1, close) : bytes
  let crc = 0
  for (const byte of hashed) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc % slotCount
}

export interface SlotRange {
  readonly first: number
  readonly last: number
  readonly master: Address & { readonly id: string }
}

/** The reply of CLUSTER SLOTS. `asked` stands in where a server does not know its own address. */
export function parseClusterSlots(reply: unknown, asked: Address): readonly SlotRange[] {
  return (reply as readonly [number, number, [string | null, number, string?]][]).map(([first, last, node]) => {
    const [host, port, id = ''] = node
    const isKnown = host !== null && host !== '' && host !== '?'
    return { first, last, master: { host: isKnown ? host : asked.host, port, id: id || `${host ?? ''}:${port}` } }
  })
}
