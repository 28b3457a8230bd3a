import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { classifyFailure, errorTable, exitCodes, messageOf, SchedulerError } from '../src/errors.js'

const sources = ['src', '../../apps/scheduler/src'].flatMap((folder) =>
  readdirSync(join(import.meta.dirname, '..', folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'errors.ts')
    .map((file) => readFileSync(join(import.meta.dirname, '..', folder, file), 'utf8')),
)

describe('the error table', () => {
  it('has a row for every code that the sources raise, and no row that none raises', () => {
    const raised = new Set(
      sources.flatMap((text) =>
        [...text.matchAll(/new (?:SchedulerError|RunAborted|UsageError)\(\s*'([a-z-]+)'/g)].map((match) => match[1]),
      ),
    )
    raised.add('lost-claim')
    const known = new Set(Object.keys(errorTable))
    expect([...raised].filter((code) => !known.has(code ?? ''))).toEqual([])
    const text = sources.join('\n')
    expect([...known].filter((code) => !text.includes(`'${code}'`) && !raised.has(code))).toEqual([])
  })

  it('gives every exit code a number of its own', () => {
    const codes = Object.values(exitCodes).map(({ code }) => code)
    expect(new Set(codes).size).toBe(codes.length)
    expect(codes).toEqual([0, 1, 64, 69, 70, 75, 78, 80, 130, 143])
  })

  it('maps an error to its exit code', () => {
    expect(new SchedulerError('database-standby', 'x').exitCode).toBe(69)
    expect(new SchedulerError('schema-newer', 'x').exitCode).toBe(78)
  })
})

describe('classifyFailure', () => {
  it.each([
    ['40001', 'transient'],
    ['40P01', 'transient'],
    ['55P03', 'transient'],
    ['08006', 'transient'],
    ['57P01', 'transient'],
    ['ECONNRESET', 'transient'],
    ['commit-unknown', 'transient'],
    ['57014', 'cancelled'],
    ['42501', 'permission'],
    ['lost-claim', 'lost-claim'],
    ['23503', 'permanent'],
    ['42P01', 'permanent'],
  ])('calls %s %s', (code, kind) => {
    expect(classifyFailure(Object.assign(new Error('deadlock detected'), { code }))).toBe(kind)
  })

  it('never looks at the text', () => {
    expect(classifyFailure(new Error('deadlock detected, connection reset, permission denied'))).toBe('permanent')
    expect(classifyFailure('40001')).toBe('permanent')
    expect(classifyFailure(undefined)).toBe('permanent')
  })
})

describe('messageOf', () => {
  it('is one line of bounded length', () => {
    expect(messageOf(new Error('a\n  b\tc'))).toBe('a b c')
    expect(messageOf('x'.repeat(900))).toHaveLength(500)
    expect(messageOf(null)).toBe('null')
    expect(messageOf(new Error(''))).toBe('no message')
  })
})
