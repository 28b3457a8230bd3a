/** What the format raises by itself. Told apart by `code`, as everywhere. */

/** A value that the encoding of its column cannot hold: an infinite timestamp, an array of two dimensions. */
export class UnrepresentableValue extends Error {
  override readonly name = 'UnrepresentableValue'
  readonly code = 'unrepresentable-value'
  readonly hint: string | undefined
  readonly column: string
  /** Whether the column can be archived all the same, by encoding it again as text. */
  readonly asText: boolean

  constructor(column: string, reason: string, options: { readonly asText?: boolean; readonly hint?: string } = {}) {
    super(`column '${column}' has ${reason}`)
    this.column = column
    this.asText = options.asText ?? true
    this.hint = options.hint
  }
}

/** What was read back is not what was written. */
export class ArchiveMismatch extends Error {
  override readonly name = 'ArchiveMismatch'
  readonly code = 'archive-mismatch'
  readonly hint =
    'the object is damaged or was replaced; its rows are still in the database unless the manifest says deleted'

  /** @param what what differs, with both sides where there are two */
  constructor(
    readonly what: string,
    options: { readonly cause?: unknown } = {},
  ) {
    super(`the archive object does not match: ${what}`, options.cause === undefined ? undefined : options)
  }
}

/** The bytes are no COPY in binary form of the columns that were planned: the table was altered meanwhile, or the stream was cut. */
export class CopyFormatError extends Error {
  override readonly name = 'CopyFormatError'
  readonly code = 'copy-format'
  readonly hint = 'the relation may have been altered while it was read; the next run plans its columns anew'

  constructor(reason: string) {
    super(`not the binary COPY that was expected: ${reason}`)
  }
}
