import { describe, expect, it } from 'vitest'
import { summarizeStatement } from '../src/statement-summary.js'

describe('the summary of a statement', () => {
  it.each([
    ['SELECT a.b,\n  count(*) FROM t WHERE c = 5', 'SELECT', 'select a.b, count(*) from t where c = ?'],
    [`select "T"."x" from "s"."T" where y = $1`, 'SELECT', 'select "T"."x" from "s"."T" where y = $1'],
    [`DELETE FROM t WHERE k IN ('a''b', E'\\'c', $q$secret$q$, 1e5)`, 'DELETE', 'delete from t where k in(?, ?, ?, ?)'],
    ['/* why */ VACUUM (ANALYZE) t; -- done', 'VACUUM', 'vacuum(analyze) t;'],
    ['SELECT a >= $1::int4', 'SELECT', 'select a >= $1::int4'],
    ['', 'STATEMENT', ''],
  ])('of %j shows no value', (sql, operation, text) => {
    expect(summarizeStatement(sql)).toEqual({ operation, text })
  })

  it('has no text where a value could not be told from the rest', () => {
    expect(summarizeStatement(`SELECT 'no end`)).toEqual({ operation: 'STATEMENT', text: undefined })
    expect(summarizeStatement(`SELECT U&'\\0061'`)).toEqual({ operation: 'STATEMENT', text: undefined })
  })

  it('is not as long as the statement', () => {
    expect(summarizeStatement(`SELECT ${'a, '.repeat(5000)}b`).text).toHaveLength(2000)
  })
})
