import { describe, expect, it } from 'vitest'
import { queryShape } from '../../src/database/query-shape.js'

describe('queryShape', () => {
  it.each([
    ["SELECT * FROM users WHERE token = 'hunter2' AND id = 42", 'SELECT * FROM users WHERE token = ? AND id = ?'],
    ["ALTER ROLE bob PASSWORD 'it''s hunter2'", 'ALTER ROLE bob PASSWORD ?'],
    ['SELECT $$hunter2$$, $tag$hunter2 $$ hunter2$tag$', 'SELECT ?, ?'],
    ['SELECT t1.a2 FROM t1 WHERE b = -1.5e3', 'SELECT t1.a2 FROM t1 WHERE b = ?'],
    ['SELECT  1\n  FROM\tt', 'SELECT ? FROM t'],
    [`SELECT 1 AS "it's" FROM t WHERE pw = 'hunter2'`, `SELECT ? AS "it's" FROM t WHERE pw = ?`],
    [`SELECT 'hunter2 "', "say ""it's""" FROM t WHERE pw = 'hunter2'`, `SELECT ?, "say ""it's""" FROM t WHERE pw = ?`],
    [
      `SELECT "a$$", "b$x$" FROM t WHERE pw = $$hunter2$$ AND x = $x$hunter2$x$`,
      `SELECT "a$$", "b$x$" FROM t WHERE pw = ? AND x = ?`,
    ],
    [`select "a" from "t" where "b" = $1 and "pw" = 'hunter2'`, `select "a" from "t" where "b" = $1 and "pw" = ?`],
    [`SELECT a$x$, é$x$ FROM t WHERE pw = 'x$x$hunter2'`, `SELECT a$x$, é$x$ FROM t WHERE pw = ?`],
    // Cut off by the server in the middle of an identifier.
    [`SELECT 'hunter2', "it's`, `SELECT ?, "it's`],
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
    `SELECT 1 AS "it's -- " FROM t WHERE pw = 'hunter2'`,
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
