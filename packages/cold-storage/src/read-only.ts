import type { Store, StoreReader } from './store.js'

/** The reading half of a store. It is an object of its own: no cast and no prototype leads from it to a method that writes. */
export function readOnly(store: Store): StoreReader {
  return Object.freeze<StoreReader>({
    location: store.location,
    conditionalWrites: store.conditionalWrites,
    head: (name, options) => store.head(name, options),
    get: (name, options) => store.get(name, options),
    list: (prefix, options) => store.list(prefix, options),
    countUnfinishedUploads: (prefix, startedBefore, options) =>
      store.countUnfinishedUploads(prefix, startedBefore, options),
  })
}
