import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StoreError, type Store } from '@battlescope/cold-storage'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { clientsFor, createWorld, programsOf, type World } from './world.js'

describe('the driver command', () => {
  let world: World
  let folder: string
  beforeEach(async () => {
    world = await createWorld({ driver: 'command' })
    folder = mkdtempSync(join(tmpdir(), 'backup-tool-'))
  })
  afterEach(async () => {
    await world.close()
    rmSync(folder, { recursive: true, force: true })
  })

  /** A backup tool as a small script. */
  const tool = (script: string): string => {
    const path = join(folder, 'pgbackrest')
    writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    return path
  }

  it('runs the tool, and keeps its log', async () => {
    const program = tool(`echo "P00 INFO: backup $1 for $2"; echo warning >&2; echo "$@" > ${folder}/args`)
    const run = await world.run({ config: { command: [program, '--annotation={name}', '$(id); *'] } })
    expect(run).toMatchObject({ outcome: 'succeeded', findings: [] })
    const [row] = await world.rows()
    expect(row).toMatchObject({ state: 'succeeded', log_tail: expect.stringContaining('P00 INFO') as string })
    expect(row?.log_tail).toContain('warning')
    // No shell read the arguments.
    expect(readFileSync(join(folder, 'args'), 'utf8')).toBe(`--annotation=${row?.name ?? ''} $(id); *\n`)
    expect(row?.location).toBe(`${world.url}/backups/logs/${row?.name ?? ''}.log`)
    expect(await world.names('backups/logs/')).toEqual([`backups/logs/${row?.name ?? ''}.log`])
  })

  /** A store that takes no logs. */
  const withoutLogs =
    (refuse: () => void) =>
    (store: Store): Store =>
      new Proxy(store, {
        get: (target, key) => {
          const member: unknown = Reflect.get(target, key, target)
          if (key !== 'put') return typeof member === 'function' ? (member.bind(target) as unknown) : member
          return () => {
            refuse()
            return Promise.reject(new StoreError('store-unavailable', 'the store is away'))
          }
        },
      })

  it('is as good as it was when its log could not be stored: a warning, and the end of the log in the table', async () => {
    const warnings: object[] = []
    const none = () => undefined
    const logger = {
      trace: none,
      debug: none,
      info: none,
      error: none,
      warn: (fields: object) => warnings.push(fields),
    }
    let refused = 0
    const run = await world.run({
      config: { command: [tool('echo "backup done"')] },
      wrap: withoutLogs(() => (refused += 1)),
      logger,
    })
    expect(run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(refused).toBe(1)
    expect(await world.rows()).toMatchObject([{ state: 'succeeded', location: null, log_tail: 'backup done\n' }])
    expect(warnings).toContainEqual(expect.objectContaining({ event: 'backup-log-lost', code: 'store-unavailable' }))
  })

  it('is not recorded by a run that was ended while it stored the log', async () => {
    const stop = new AbortController()
    const run = await world.run({
      config: { command: [tool('echo "backup done"')] },
      wrap: withoutLogs(() => stop.abort('SIGTERM')),
      hardStop: stop.signal,
    })
    expect(run.outcome).not.toBe('succeeded')
    expect(await world.rows()).toMatchObject([{ state: 'running' }])
  })

  it('that ends with an error has failed, with its last words', async () => {
    const run = await world.run({
      config: { command: [tool('echo begins; echo "ERROR: [050]: unable to acquire lock"; exit 50')] },
    })
    const message = expect.stringMatching(/ended with 50: ERROR: \[050\]: unable to acquire lock/) as string
    expect(await world.rows()).toMatchObject([{ state: 'failed', message }])
    // There is one attempt more, under another name, in the next run. A forced run is a slot of its own.
    expect(run.findings.map(({ key }) => key)).toEqual(['never-succeeded', 'failed'])
  })

  it('that takes too long is ended, with everything that it started', async () => {
    const program = tool(
      `sh -c 'trap "" TERM; echo started; while :; do sleep 0.05; touch ${folder}/alive; done' & wait`,
    )
    await world.run({ config: { command: [program], commandTimeout: '1s' } })
    expect(await world.rows()).toMatchObject([
      { state: 'failed', message: expect.stringContaining('commandTimeout') as string },
    ])
    // SIGKILL to the group: when its outputs are closed, nobody of it is left.
    rmSync(join(folder, 'alive'), { force: true })
    await programsOf(world.database.url).run({ program: tool('sleep 0.3'), args: [], timeoutMs: 5000 })
    expect(existsSync(join(folder, 'alive'))).toBe(false)
  })

  it('gets none of our secrets, but what is handed on by name', async () => {
    const environment = { PATH: process.env['PATH'], DATABASE_URL: 'secret', REPO_KEY: 'wanted', OTHER: 'x' }
    const clients = clientsFor({ databaseUrl: world.database.url, storeUrl: world.url, environment })
    const command = [tool('env')]
    await world.run({ clients, config: { command, commandEnvironment: ['REPO_KEY'] } })
    await world.run({ clients, config: { command, commandConnection: true } })
    const [first, second] = (await world.rows()).map(({ log_tail }) =>
      log_tail?.split('\n').map((line) => line.split('=')[0]),
    )
    expect(first).toEqual(expect.arrayContaining(['PATH', 'REPO_KEY', 'LANG']))
    expect(first).not.toEqual(expect.arrayContaining(['PGHOST']))
    expect(second).toEqual(expect.arrayContaining(['PGHOST', 'PGUSER', 'PGDATABASE']))
    for (const name of ['DATABASE_URL', 'OTHER']) {
      expect(first).not.toContain(name)
      expect(second).not.toContain(name)
    }
  })

  it('has the password cut out of its log', async () => {
    const role = await world.database.createRole({ attributes: 'SUPERUSER' })
    const clients = clientsFor({ databaseUrl: role.url, storeUrl: world.url })
    await world.run({
      clients,
      config: { command: [tool('echo "connecting with $PGPASSWORD"')], commandConnection: true },
    })
    const [row] = await world.rows()
    expect(row?.log_tail).toContain('connecting with')
    expect(row?.log_tail).not.toContain(role.password)
  })

  it('has secrets that it was handed on by name cut out of its log, and of why it failed', async () => {
    const secrets = {
      PGBACKREST_REPO1_CIPHER_PASS: 'cipher-of-the-repository',
      AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG',
      azure_storage_token: 'sv=2026&sig=abcdef',
    }
    const environment = { PATH: process.env['PATH'], ...secrets, REGION: 'eu-central-1' }
    const clients = clientsFor({ databaseUrl: world.database.url, storeUrl: world.url, environment })
    const commandEnvironment = [...Object.keys(secrets), 'REGION']
    await world.run({
      clients,
      config: { command: [tool('env; echo "refused: $AWS_SECRET_ACCESS_KEY in $REGION"; exit 1')], commandEnvironment },
    })
    const [row] = await world.rows()
    expect(row?.log_tail).toContain('AWS_SECRET_ACCESS_KEY=')
    expect(row?.message).toMatch(/refused: .* in eu-central-1/)
    const stored = readFileSync(join(world.folder, `backups/logs/${row?.name ?? ''}.log`), 'utf8')
    for (const secret of Object.values(secrets)) {
      for (const text of [row?.log_tail, row?.message, stored]) expect(text).not.toContain(secret)
    }
  })

  it('is not begun without the program: a configuration error, with a hint', async () => {
    const run = await world.run({ config: { command: ['no-such-backup-tool'] } })
    expect(run).toMatchObject({
      outcome: 'failed',
      errorCode: 'configuration',
      reason: expect.stringContaining('no-such-backup-tool') as string,
    })
    expect(await world.rows()).toEqual([])
  })

  it('is not begun when its deadline would not fit into the budget', async () => {
    const run = await world.run({ config: { command: [tool('true')], commandTimeout: '1h' } })
    expect(run).toMatchObject({ outcome: 'partial' })
    expect(run.findings.map(({ key }) => key)).toEqual(['never-succeeded'])
    expect(await world.rows()).toEqual([])
  })

  it('whose run was killed has failed: nobody knows whether it was through', async () => {
    const command = [tool('true')]
    await world.run({ config: { command } })
    await world.database.query(`UPDATE scheduler.backup SET state = 'running', finished_at = NULL`)
    await world.run({ config: { command } })
    expect((await world.rows()).map(({ state }) => state)).toEqual(['failed', 'succeeded'])
  })

  it('is given up when the driver was changed meanwhile', async () => {
    await world.run({ config: { command: [tool('true')] } })
    await world.database.query(`UPDATE scheduler.backup SET state = 'running'`)
    await world.run({ config: { driver: 'http', url: 'http://127.0.0.1:9/', statusUrl: 'http://127.0.0.1:9/{name}' } })
    expect((await world.rows())[0]).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('backup.driver') as string,
    })
  })
})
