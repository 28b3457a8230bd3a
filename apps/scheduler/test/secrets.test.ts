/** No secret leaves the process, whichever way it tries. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePluginFolder, taskPackage, type PluginFolder } from './plugin-folder.js'
import { battlescope, records } from './support.js'

const token = 'tok"en-of the\\third-party'
const mask = '********'

let plugins: PluginFolder
let database: TestDatabase
beforeAll(async () => {
  plugins = makePluginFolder({
    talkative: taskPackage(
      'talkative',
      `const { token } = context.config
       context.logger.warn({ event: 'said', token, nested: { list: [token] } }, 'the token is ' + token)
       context.logger.warn({ event: 'error', err: new Error('with ' + token) }, 'an error')
       await context.act({ kind: 'note', target: 'public.note', reason: 'because of ' + token }, async () => {
         return { details: { token } }
       })
       if (context.config.fails) throw new Error('401 for ' + token)
       return { outcome: 'succeeded', findings: [{ key: 'k', severity: 'info', summary: 'saw ' + token, details: { token } }] }`,
      {
        members: `configSchema: z.object({
          token: z.string().meta({ secret: true, description: 'x' }),
          fails: z.boolean().default(false).describe('x'),
        }),`,
      },
    ),
  })
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.note (text text)')
})
afterAll(async () => {
  plugins.remove()
  await database.drop()
})

const environment = (more: Record<string, string> = {}) => ({
  DATABASE_URL: database.url,
  SCHEDULER_PLUGIN_DIR: plugins.path,
  SCHEDULER_TASKS: 'npm:talkative',
  SCHEDULER_TALKATIVE_TOKEN: token,
  ...more,
})

/** As it is, and as JSON has it. */
function expectNoSecret(text: string): void {
  expect(text).not.toContain(token)
  expect(text).not.toContain(JSON.stringify(token).slice(1, -1))
}

async function everythingRecorded(): Promise<string> {
  const rows = await database.query<{ row: string }>(`
    SELECT to_jsonb(r)::text AS row FROM scheduler.task_run r UNION ALL SELECT to_jsonb(a)::text FROM scheduler.action a
    UNION ALL SELECT to_jsonb(r)::text FROM scheduler.run r`)
  return rows.map(({ row }) => row).join('\n')
}

describe('a task that quotes its own secret', () => {
  it('gets it into no log, no record, and no report', async () => {
    const { stdout, stderr, exitCode } = await battlescope(['run', '--json'], environment())
    expect(exitCode, stderr).toBe(0)
    expectNoSecret(stdout)
    expectNoSecret(stderr)
    expect(records(stderr)).toContainEqual(
      expect.objectContaining({ event: 'said', token: mask, nested: { list: [mask] }, msg: `the token is ${mask}` }),
    )
    expect(JSON.parse(stdout)).toMatchObject({ tasks: [{ run: { findings: [{ summary: `saw ${mask}` }] } }] })
    const recorded = await everythingRecorded()
    expectNoSecret(recorded)
    expect(recorded).toContain(`saw ${mask}`)
  })

  it('gets it into none when it fails, nor into status, history and traces', async () => {
    const sent: string[] = []
    const collector = createServer((request, response) => {
      request.setEncoding('utf8')
      request.on('data', (text: string) => sent.push(text))
      request.on('end', () => response.end('{}'))
    })
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
    const failing = environment({
      SCHEDULER_TALKATIVE_FAILS: 'true',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    })
    const { stdout, stderr, exitCode } = await battlescope([], failing)
    collector.close()
    expect(exitCode, stderr).toBe(1)
    expectNoSecret(stdout + stderr)
    expect(stdout).toContain(`401 for ${mask}`)
    expect(sent.length).toBeGreaterThan(0)
    expectNoSecret(sent.join(''))
    expectNoSecret(await everythingRecorded())
    for (const argv of [['status'], ['history'], ['history', '--json'], ['tasks'], ['config'], ['doctor']])
      expectNoSecret((await battlescope(argv, environment())).stdout)
  })
})

describe('the password of the database', () => {
  it('is taken out of what others say of it, written and decoded', async () => {
    const url = `postgres://me:p%40ss-w%2Ford@127.0.0.1:1/x`
    const { stdout, stderr } = await battlescope(['tasks'], {
      DATABASE_URL: url,
      SCHEDULER_TASKS: 'npm:talkative',
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_TALKATIVE_FAILS: 'p@ss-w/ord',
      SCHEDULER_TALKATIVE_TOKEN: 'p%40ss-w%2Ford',
    })
    expect(stdout).toContain('talkative')
    expect(stdout + stderr).not.toMatch(/p@ss-w|p%40ss/)
  })
})
