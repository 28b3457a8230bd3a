/** Which names in the store belong to whom: what is left over is a stray. */
import type { BatchWithObjects } from '../catalog/batches.js'
import type { Manifest } from '../manifest.js'
import { dataPrefix, restoredPrefix } from '../object-names.js'
import { finding, type ArchiveFinding } from './findings.js'

/** A name takes about 200 bytes here: a million objects need 200 MB. */
export class KnownNames {
  readonly #fates = new Map<string, 'ours' | 'unfinished' | 'discarded' | 'left'>()

  addBatch({ state, objects }: BatchWithObjects): void {
    for (const { name } of objects) {
      if (state !== 'deleted') {
        this.#fates.set(name, state === 'discarded' ? 'discarded' : 'unfinished')
        continue
      }
      this.#addOurs(name)
    }
  }

  addManifest({ objects }: Manifest): void {
    for (const { name } of objects) this.#addOurs(name)
  }

  #addOurs(name: string): void {
    this.#fates.set(name, 'ours')
    if (name.startsWith(restoredPrefix)) this.#fates.set(dataPrefix + name.slice(restoredPrefix.length), 'left')
    else this.#fates.set(restoredPrefix + name.slice(dataPrefix.length), 'unfinished')
  }

  /** @returns undefined for what may be where it is */
  judge(name: string): ArchiveFinding | undefined {
    switch (this.#fates.get(name)) {
      case 'ours':
      case 'unfinished':
        return undefined
      case 'left':
        return finding('object-left', name, 'its rows were restored: `archive restore` of its month removes it')
      case 'discarded':
        return finding('object-stray', name, 'its batch was given up, and its rows stayed in the database')
      case undefined:
        return finding('object-stray', name, 'no batch has an object of this name')
    }
  }
}

/** `2020-03` of an object's or manifest's name. */
export function monthOfName(name: string): string | undefined {
  return /\/month=(\d{4,6}-\d{2})\//.exec(name)?.[1]
}
