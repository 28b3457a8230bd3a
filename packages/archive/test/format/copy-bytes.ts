/** COPY in binary form, made by hand: for tests that need no server. */

const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')

export function copyBytes(rows: readonly (readonly (Uint8Array | null)[])[]): Buffer {
  const header = Buffer.concat([signature, Buffer.alloc(8)])
  const body = rows.map((fields) => {
    const count = Buffer.alloc(2)
    count.writeInt16BE(fields.length)
    return Buffer.concat([
      count,
      ...fields.flatMap((field) => (field === null ? [int32(-1)] : [int32(field.length), Buffer.from(field)])),
    ])
  })
  return Buffer.concat([header, ...body, Buffer.from([0xff, 0xff])])
}

export const text = (value: string): Buffer => Buffer.from(value, 'utf8')

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

export function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}

export function float64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes
}

export const jsonb = (value: string): Buffer => Buffer.concat([Buffer.from([1]), text(value)])

export function array(elements: readonly (Uint8Array | null)[]): Buffer {
  if (elements.length === 0) return Buffer.alloc(12)
  return Buffer.concat([
    int32(1),
    int32(0),
    int32(0),
    int32(elements.length),
    int32(1),
    ...elements.flatMap((element) => (element === null ? [int32(-1)] : [int32(element.length), Buffer.from(element)])),
  ])
}

/** The bytes in chunks of the given sizes, over and over. */
export async function* chunked(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}
