/** Errors that nobody awaits, in a run of built-in tasks: a module loaded beside the built program leaves them behind. */
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { battlescope, records } from './support.js'

let database: TestDatabase
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.killmail_events AS SELECT generate_series(1, 100) AS i')
})
afterEach(() => database.drop())

/** @param leave what is left behind once the program has begun to look for it */
async function runBeside(leave: string) {
  const source = `const on = process.on
    process.on = function (event, listener) {
      if (event === 'unhandledRejection') setImmediate(() => { ${leave} })
      return on.call(this, event, listener)
    }`
  const ended = await battlescope(
    [],
    { DATABASE_URL: database.url },
    { nodeOptions: ['--import', `data:text/javascript,${encodeURIComponent(source)}`] },
  )
  return { ...ended, log: records(ended.stdout) }
}

it('a rejection is told and stops no task', async () => {
  const { exitCode, log } = await runBeside(`Promise.reject(new Error('left behind'))`)
  expect(log.find(({ event }) => event === 'stray-error')).toMatchObject({
    level: 'error',
    what: 'rejection',
    error: 'left behind',
  })
  expect(log.find(({ event }) => event === 'task-ended')).toMatchObject({ task: 'analyze', outcome: 'succeeded' })
  expect(exitCode).toBe(0)
})

it('an exception from our own code is told and ends the run as a bug of ours', async () => {
  const { exitCode, log } = await runBeside(
    `throw Object.assign(new Error('our bug'), { stack: 'Error: our bug at ' + process.argv[1] })`,
  )
  expect(log.find(({ event }) => event === 'stray-error')).toMatchObject({ what: 'exception', error: 'our bug' })
  expect(exitCode).toBe(70)
})
