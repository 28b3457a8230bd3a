import type { ColumnEncoding, PlannedColumn } from '../../src/index.js'

/** A planned column with nothing special to it. */
export const planned = (name: string, encoding: ColumnEncoding, typeName: string, list = false): PlannedColumn => ({
  name,
  typeName,
  encoding,
  list,
  notNull: false,
  generated: false,
  selectAs: 'value',
})
