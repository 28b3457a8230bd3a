import { describe, expect, it } from 'vitest'
import { queryShape } from '../../src/database/query-shape.js'

describe('queryShape', () => {
  it.each([
    ["SELECT * FROM users WHERE token = 'hunter2' AND id = 42", 'SELECT * FROM users WHERE token = ? AND id = ?'],
    ["ALTER ROLE bob PASSWORD 'it''s hunter2'", 'ALTER ROLE bob PASSWORD ?'],
    ['SELECT $$hunter2$$, $tag$hunter2 $$ hunter2$tag$', 'SELECT ?, ?'],
    ['SELECT t1.a2 FROM t1 WHERE b = -1.5e3', 'SELECT t1.a2 FROM t1 WHERE b = ?'],
    ['SELECT  1\n  FROM\tt', 'SELECT ? FROM t'],
    // Cut off by the server in the middle of a literal.
    ["SELECT pgp_sym_decrypt(x, 'hunter2 and mo", 'SELECT pgp_sym_decrypt(x, ?'],
  ])('%s', (query, shape) => {
    expect(queryShape(query)).toBe(shape)
  })

  it.each([
    String.raw`SELECT E'it\'s hunter2', 'hunter2'`,
    String.raw`SELECT 'C:\', 'hunter2'`,
    "SELECT 1 -- don't\n, 'hunter2'",
    "SELECT /* it's */ 'hunter2'",
    "/* hunter2 */ SELECT 'x'",
    "SELECT U&'hunter2' UESCAPE '!'",
    "SELECT B'1' || 'hunter2' /* ' */ || 'hunter2",
  ])('shows no value where it is unclear where one ends: %s', (query) => {
    expect(queryShape(query)).not.toMatch(/hunter2/)
  })

  it('is cut by characters', () => {
    const shape = queryShape(`SELECT ${'☃'.repeat(500)}`)
    expect([...shape]).toHaveLength(120)
    expect(shape.endsWith('…')).toBe(true)
  })
})
