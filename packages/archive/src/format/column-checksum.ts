import { crc32 } from 'node:zlib'

/**
 * The checksum of a column: CRC-32 over its levels and CRC-32 over its values, in order. The same rows give the same checksum however
 * they are cut into row groups and however those are encoded, and it costs next to nothing in either direction. It is there to find
 * what an encoder, a decoder or a disk got wrong; against intent there is the SHA-256 of the file.
 */
export class ColumnChecksum {
  #levels = 0
  #values = 0

  update(levels: Uint8Array, values: Uint8Array): void {
    this.#levels = crc32(levels, this.#levels)
    this.#values = crc32(values, this.#values)
  }

  /** `crc32:` and sixteen hexadecimal digits. */
  get text(): string {
    return `crc32:${hex(this.#levels)}${hex(this.#values)}`
  }
}

const hex = (crc: number): string => crc.toString(16).padStart(8, '0')
