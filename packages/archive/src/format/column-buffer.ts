/** One column of the row group that is being filled: levels and values. */
import { CopyFormatError, UnrepresentableValue } from './format-error.js'
import { flatLevels, listLevels } from './layout.js'
import type { ArchivedColumn } from './types.js'
import { createValueBuffer, type ValueBuffer } from './value-buffer.js'

const initialLevels = 4 * 1024
/** Dimensions, flags, type of the elements; then length and lower bound of the one dimension. */
const arrayHeaderBytes = 20
const emptyArrayBytes = 12

export class ColumnBuffer {
  readonly values: ValueBuffer
  /** One byte per entry: see layout.ts. */
  levels: Uint8Array = new Uint8Array(initialLevels)
  levelCount = 0
  /** Entries that are no value. */
  absentCount = 0

  constructor(readonly column: ArchivedColumn) {
    this.values = createValueBuffer(column)
  }

  /** @throws UnrepresentableValue, CopyFormatError */
  append(source: Uint8Array, view: DataView, at: number, length: number): void {
    if (this.column.list) {
      if (length < 0) this.#absent(listLevels.nullList)
      else this.#appendList(source, view, at, length)
    } else if (length < 0) this.#absent(flatLevels.null)
    else {
      this.#level(flatLevels.value)
      this.values.append(source, view, at, length)
    }
  }

  clear(keptBytes: number): void {
    this.levelCount = 0
    this.absentCount = 0
    if (this.levels.length > keptBytes) this.levels = new Uint8Array(initialLevels)
    this.values.clear(keptBytes)
  }

  #appendList(source: Uint8Array, view: DataView, at: number, length: number): void {
    const end = at + length
    const dimensions = length < emptyArrayBytes ? -1 : view.getInt32(at)
    if (dimensions === 0) {
      this.#absent(listLevels.emptyList)
      return
    }
    if (dimensions > 1) throw new UnrepresentableValue(this.column.name, `an array of ${dimensions} dimensions`)
    if (dimensions < 0 || length < arrayHeaderBytes) throw this.#malformed()
    const count = view.getInt32(at + 12)
    const lowerBound = view.getInt32(at + 16)
    if (lowerBound !== 1)
      throw new UnrepresentableValue(this.column.name, `an array whose subscripts begin at ${lowerBound}`)
    let repeated = 0
    at += arrayHeaderBytes
    for (let index = 0; index < count; index++) {
      if (at + 4 > end) throw this.#malformed()
      const elementLength = view.getInt32(at)
      at += 4
      if (elementLength < 0) this.#absent(listLevels.nullElement | repeated)
      else {
        if (at + elementLength > end) throw this.#malformed()
        this.#level(listLevels.value | repeated)
        this.values.append(source, view, at, elementLength)
        at += elementLength
      }
      repeated = listLevels.repeated
    }
    if (at !== end || count < 1) throw this.#malformed()
  }

  #absent(level: number): void {
    this.#level(level)
    this.absentCount++
  }

  #level(level: number): void {
    if (this.levelCount === this.levels.length) {
      const levels = new Uint8Array(this.levels.length * 2)
      levels.set(this.levels)
      this.levels = levels
    }
    this.levels[this.levelCount++] = level
  }

  #malformed(): CopyFormatError {
    return new CopyFormatError(`an array in column '${this.column.name}' that cannot be read`)
  }
}
