import { describe, expect, it } from 'vitest'
import type { Rebuild, SiblingIndex } from '../src/facts.js'
import { aftermathOf, leftoverName } from '../src/leftovers.js'

const definition = 'ON public.t USING btree (at)'
const rebuild: Rebuild = {
  id: 'r',
  relation: 'public.t',
  indexName: 'public."T_idx"',
  definition,
  tableOid: 10,
  indexOid: 100,
  newIndexOid: 200,
  invalidBefore: [50],
  sessionName: '',
  sizeBeforeBytes: 0,
  workBytes: 0,
  predictedMs: 0,
  startedAt: new Date(0),
  leftoverOid: undefined,
  endedAt: undefined,
  outcome: undefined,
  errorCode: undefined,
  durationMs: undefined,
}
const at = (oid: number, name: string, valid: boolean, more: Partial<SiblingIndex> = {}): SiblingIndex => ({
  oid,
  schema: 'public',
  name,
  definition,
  valid,
  sizeBytes: 1,
  ...more,
})
const original = at(100, 'T_idx', true)
const copy = at(200, 'T_idx_ccnew', false)
const swapped = [at(100, 'T_idx_ccold', false), at(200, 'T_idx', true)]
const foreign = at(50, 'T_idx_ccnew', false)
const unnoted: Rebuild = { ...rebuild, newIndexOid: undefined }

const drops = (oid: number, outcome: string) => ({ kind: 'drop', leftover: { oid }, outcome })
const closes = (outcome: string) => ({ kind: 'close', outcome })

describe('aftermathOf', () => {
  it.each<[string, Rebuild, readonly SiblingIndex[], object]>([
    ['the copy, before the swap', rebuild, [original, copy], drops(200, 'interrupted')],
    [
      'the copy under its last name',
      rebuild,
      [original, { ...copy, name: leftoverName(copy) }],
      drops(200, 'interrupted'),
    ],
    ['the original, after the swap', rebuild, swapped, drops(100, 'rebuilt')],
    ['the original, when the copy was not noted', unnoted, swapped, drops(100, 'rebuilt')],
    ['the one copy that came since', unnoted, [original, foreign, copy], drops(200, 'interrupted')],
  ])('drops %s', (_what, of, siblings, expected) => {
    expect(aftermathOf(of, siblings)).toMatchObject(expected)
  })

  it.each<[string, Rebuild, readonly SiblingIndex[], object]>([
    ['nothing happened', rebuild, [original], closes('interrupted')],
    ['nothing happened, and nothing was noted', unnoted, [original], closes('interrupted')],
    ['the server went on to the end', rebuild, [at(200, 'T_idx', true)], closes('rebuilt')],
    ['the server went on to the end, unnoted', unnoted, [at(200, 'T_idx', true)], closes('rebuilt')],
    ['the table is gone', rebuild, [], closes('gone')],
    ['the index was dropped', unnoted, [at(300, 'other', true)], closes('gone')],
    ['only what was invalid before is invalid', unnoted, [original, foreign], closes('interrupted')],
    ['two came since', unnoted, [original, copy, at(201, 'T_idx_ccnew1', false)], closes('interrupted')],
    ['what came since has another name', unnoted, [original, at(200, 'T_new', false)], closes('interrupted')],
    [
      'what came since is another index',
      unnoted,
      [original, { ...copy, definition: 'ON public.t USING btree (id)' }],
      closes('interrupted'),
    ],
    [
      'the noted number is another index now',
      rebuild,
      [original, { ...copy, definition: 'other' }],
      closes('interrupted'),
    ],
    [
      'the noted number is another index now, and a copy like ours is there',
      rebuild,
      [original, { ...copy, oid: 201 }],
      closes('interrupted'),
    ],
    ['both are invalid', rebuild, [{ ...original, valid: false }, copy], closes('interrupted')],
    [
      'the original was swapped with what is not our copy',
      rebuild,
      [at(100, 'T_idx_ccold', false), at(300, 'T_idx', true)],
      closes('interrupted'),
    ],
    [
      'the original is invalid, and nothing took its place',
      unnoted,
      [{ ...original, valid: false }],
      closes('interrupted'),
    ],
    ['both are valid', rebuild, [original, at(200, 'T_copy', true)], closes('rebuilt')],
  ])('drops nothing when %s', (_what, of, siblings, expected) => {
    expect(aftermathOf(of, siblings)).toMatchObject(expected)
  })

  it('never takes a valid index, nor one that was invalid before, whatever it finds', () => {
    const pool = [original, copy, foreign, ...swapped, at(201, 'T_idx_ccnew1', false), { ...copy, definition: 'other' }]
    for (let bits = 0; bits < 2 ** pool.length; bits += 1) {
      const siblings = pool.filter((_, index) => (bits >> index) % 2 === 1)
      for (const of of [rebuild, unnoted]) {
        const aftermath = aftermathOf(of, siblings)
        if (aftermath.kind !== 'drop') continue
        expect(aftermath.leftover.valid).toBe(false)
        expect(of.invalidBefore).not.toContain(aftermath.leftover.oid)
        expect(aftermath.leftover.definition).toBe(definition)
      }
    }
  })
})
