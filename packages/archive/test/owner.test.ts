import { describe, expect, it } from 'vitest'
import { decideOwnership, type OwnershipFacts, type RecordedOwner, type StoredOwner } from '../src/index.js'

const identity = { systemIdentifier: '1', host: 'main', database: 'battlescope' }
const location = 's3://bucket/prefix'
const recorded: RecordedOwner = {
  ownerId: 'A',
  location,
  generation: 4,
  nonce: 'n4',
  pendingNonce: undefined,
  identity,
}
const stored: StoredOwner = { ownerId: 'A', generation: 4, nonce: 'n4', ...identity }

function decide(change: Partial<OwnershipFacts>) {
  return decideOwnership({ stored, recorded, identity, location, ...change })
}

describe('decideOwnership', () => {
  it('claims what is nobody’s', () => {
    expect(decide({ stored: undefined, recorded: undefined })).toEqual({ kind: 'claim' })
  })

  it('goes on with a claim that was killed before the store knew', () => {
    const begun = { ...recorded, generation: 0, pendingNonce: 'n1' }
    expect(decide({ stored: undefined, recorded: begun })).toEqual({ kind: 'claim' })
  })

  it('advances what is ours', () => {
    expect(decide({})).toEqual({ kind: 'advance' })
    // Announced, and killed before the store was written.
    expect(decide({ recorded: { ...recorded, pendingNonce: 'n5' } })).toEqual({ kind: 'advance' })
  })

  it('finishes an advance that was killed before it was written down', () => {
    const ahead = { ...stored, generation: 5, nonce: 'n5' }
    expect(decide({ stored: ahead, recorded: { ...recorded, pendingNonce: 'n5' } })).toEqual({
      kind: 'finish',
      stored: ahead,
    })
  })

  it.each<[string, Partial<OwnershipFacts>, RegExp]>([
    ['another owner', { stored: { ...stored, ownerId: 'B' } }, /belongs to B/],
    ['an owner although we have none', { recorded: undefined }, /never archived/],
    ['a nonce of a copy', { stored: { ...stored, generation: 5, nonce: 'x' } }, /a copy of this database/],
    ['a nonce of a copy at the same generation', { stored: { ...stored, nonce: 'x' } }, /a copy of this database/],
    ['an older generation', { stored: { ...stored, generation: 3, nonce: 'n3' } }, /a copy of this database/],
    ['no owner object any more', { stored: undefined }, /gone from the store/],
    ['another store', { stored: undefined, location: 'file:///b' }, /another one than before/],
    ['another system identifier', { identity: { ...identity, systemIdentifier: '2' } }, /system identifier was '1'/],
    ['another cluster', { identity: { ...identity, host: 'staging' } }, /cluster name was 'main' and is 'staging'/],
    ['another database', { identity: { ...identity, database: 'copy' } }, /database name/],
  ])('stops at %s', (_, change, reason) => {
    const decision = decide(change)
    expect(decision.kind).toBe('foreign')
    expect(decision.kind === 'foreign' ? decision.reason : '').toMatch(reason)
  })
})
