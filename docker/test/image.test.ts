import { execa } from 'execa'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildArguments,
  docker,
  dockerOk,
  hardened,
  nodeImage,
  postgresImage,
  prefix,
  records,
  repository,
  startPostgres,
  whyNoDocker,
  type PostgresContainer,
} from './docker.js'

const image = `${prefix}:image`
const missing = whyNoDocker(nodeImage, postgresImage)
const examples = join(repository, 'docker/examples')
/** The promise of the image: what it adds to its base. */
const largestContentBytes = 8 * 1024 * 1024

/** What BattleScope looks like to the tasks that are on by default: a few rows of each. */
const schema = `
  CREATE TABLE killmail_events (killmail_id bigint PRIMARY KEY, system_id bigint NOT NULL, occurred_at timestamptz NOT NULL,
    victim_alliance_id bigint, victim_corp_id bigint, isk_value numeric, attacker_alliance_ids bigint[] NOT NULL DEFAULT '{}',
    attacker_corp_ids bigint[] NOT NULL DEFAULT '{}', zkb_url text NOT NULL DEFAULT '', fetched_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz, battle_id uuid);
  INSERT INTO killmail_events (killmail_id, system_id, occurred_at, isk_value)
    SELECT i, 30000142, now() - i * interval '1 minute', i FROM generate_series(1, 5000) AS i;`

describe.skipIf(missing !== '')(`the image${missing}`, () => {
  const images: string[] = [image]
  const folders: string[] = []
  let postgres: PostgresContainer

  const temporaryFolder = () => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'battlescope-image-')))
    // Read by another user, in the container.
    chmodSync(folder, 0o755)
    folders.push(folder)
    return folder
  }
  /** `docker run` of the image in the network of the database, without a collector. */
  const runArguments = (options: readonly string[], args: readonly string[] = [], of = image) => [
    ...['run', '--rm', '--network', prefix, '--env', `DATABASE_URL=${postgres.url}`],
    ...['--env', 'OTEL_EXPORTER_OTLP_ENDPOINT=', ...options, of, ...args],
  ]
  const run = (options: readonly string[], args?: readonly string[], of?: string) =>
    docker(runArguments(options, args, of))

  beforeAll(async () => {
    await dockerOk(
      buildArguments(
        image,
        ...['--build-arg', 'SERVICE_SCOPE=@battlescope/scheduler', '--build-arg', 'BUILD_TARGET=apps/scheduler'],
        ...['--build-arg', 'VERSION=1.2.3', '--build-arg', 'REVISION=abc123'],
        ...['--file', join(repository, 'docker/Dockerfile'), repository],
      ),
    )
    await dockerOk(['network', 'create', prefix])
    postgres = await startPostgres(`${prefix}-postgres`, prefix)
    await postgres.sql(schema)
  }, 900_000)

  afterAll(async () => {
    await docker(['rm', '--force', `${prefix}-postgres`, `${prefix}-stopped`, `${prefix}-loop`, `${prefix}-diff`])
    await docker(['network', 'rm', prefix])
    await docker(['rmi', '--force', ...images])
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })

  it('says what it is, and starts the program itself as somebody who is not root', async () => {
    const [{ Config: config }] = JSON.parse(await dockerOk(['image', 'inspect', image]))
    expect(config).toMatchObject({
      User: '1000:1000',
      StopSignal: 'SIGTERM',
      Entrypoint: ['node', '/app/bin/battlescope-scheduler.js'],
      Labels: {
        'org.opencontainers.image.title': 'BattleScope scheduler',
        'org.opencontainers.image.licenses': 'MIT',
        'org.opencontainers.image.version': '1.2.3',
        'org.opencontainers.image.revision': 'abc123',
        'org.opencontainers.image.base.name': nodeImage,
      },
    })
    expect(config.Env).toContain('OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector:4318')
  })

  it('holds what runs and nothing else, in less than 8 MiB on top of its base', async () => {
    const sizeOf = async (name: string) => Number(await dockerOk(['image', 'inspect', '--format', '{{.Size}}', name]))
    const contentBytes = (await sizeOf(image)) - (await sizeOf(nodeImage))
    expect(contentBytes).toBeGreaterThan(0)
    expect(contentBytes).toBeLessThan(largestContentBytes)
    const list = `const { readdirSync } = require('node:fs')
      console.log(JSON.stringify([readdirSync('/app').sort(), readdirSync('/app/dist').sort(), readdirSync('/app/bin').sort()]))`
    const listed = await dockerOk(['run', '--rm', '--entrypoint', 'node', image, '--eval', list])
    const [app, dist, bin] = JSON.parse(listed)
    expect(app).toEqual(['LICENSE', 'THIRD-PARTY-LICENSES.txt', 'bin', 'dist', 'sbom.cdx.json'])
    // Not the bundler's account, which is for the bill of materials, and as large as the program.
    expect(dist).toEqual(['cache', 'main.cjs', 'parts'])
    expect(bin).toEqual(readdirSync(join(repository, 'apps/scheduler/bin')).sort())
  })

  it('lists the runtime that is in it', async () => {
    const print = `JSON.stringify([require('/app/sbom.cdx.json').components, process.versions.node])`
    const printed = await dockerOk(['run', '--rm', '--entrypoint', 'node', image, '--print', print])
    const [components, version] = JSON.parse(printed)
    expect(components).toContainEqual(expect.objectContaining({ name: 'node', type: 'platform', version }))
    expect(components).toContainEqual(expect.objectContaining({ name: 'pg' }))
  })

  it('plans, and writes nothing', async () => {
    const { exitCode, stdout } = await run([...hardened], ['plan'])
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('analyze public.killmail_events  never analyzed')])
    expect(await postgres.sql(`SELECT count(*) FROM pg_namespace WHERE nspname = 'scheduler'`)).toBe('0')
  })

  it.each(['256m', '64m'])(
    'runs every task that destroys nothing, read-only and without capabilities, in %s',
    async (memory) => {
      const tasks = ['--env', 'SCHEDULER_TASKS=analyze,cluster,statistics,cache']
      const { exitCode, stdout, stderr } = await run([
        ...hardened,
        '--memory',
        memory,
        '--memory-swap',
        memory,
        ...tasks,
      ])
      expect(stderr).toBe('')
      expect(exitCode).toBe(0)
      const ended = records(stdout).find(({ event }) => event === 'run-ended')
      expect(ended).toMatchObject({ outcomes: { analyze: 'succeeded', cluster: expect.any(String) } })
    },
  )

  it('starts from the code cache that was made with it, file by file', async () => {
    const tasks = ['--env', 'SCHEDULER_TASKS=analyze,cluster,statistics,cache', '--env', 'NODE_DEBUG=code-cache']
    const { exitCode, stderr } = await run([...hardened, ...tasks])
    expect(exitCode).toBe(0)
    const said = stderr.split('\n').filter((line) => line.startsWith('code cache: '))
    expect(said).toContain('code cache: main.cjs accepted')
    expect(said.length).toBeGreaterThan(4)
    expect(said.filter((line) => !line.endsWith(' accepted'))).toEqual([])
  })

  it('runs as any other number, and writes nothing where it could', async () => {
    const name = `${prefix}-diff`
    const options = runArguments(['--user', '12345:23456', '--name', name]).filter((each) => each !== '--rm')
    expect((await docker(options)).exitCode).toBe(0)
    expect(await dockerOk(['diff', name])).toBe('')
  })

  it('needs no shell', async () => {
    const tag = `${prefix}:no-shell`
    images.push(tag)
    // In exec form: there is nothing left to run a shell form with.
    const remove = `for (const shell of ['sh', 'bash', 'dash', 'rbash']) fs.rmSync('/bin/' + shell, { force: true })`
    await dockerOk(
      ['build', '--tag', tag, '-'],
      `FROM ${image}\nUSER 0\nRUN ${JSON.stringify(['node', '--eval', remove])}\nUSER 1000:1000\n`,
    )
    expect((await docker(['run', '--rm', '--entrypoint', 'sh', tag, '-c', 'true'])).exitCode).toBe(127)
    expect((await run([...hardened], [], tag)).exitCode).toBe(0)
  })

  it('is stopped by docker stop in the middle of ANALYZE: the statement is cancelled, and the exit code is 143', async () => {
    // An index on an expression that takes its time in ANALYZE, and in nothing else.
    await postgres.sql(`
      CREATE FUNCTION slow(value int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN IF current_query() ~* 'analyze' THEN PERFORM pg_sleep(0.02); END IF; RETURN value; END $$;
      CREATE TABLE slow_rows AS SELECT i AS id FROM generate_series(1, 30000) AS i;
      CREATE INDEX ON slow_rows (slow(id));`)
    const analyzing = `FROM pg_stat_activity WHERE state = 'active' AND query ~* '^\\s*analyze' AND pid <> pg_backend_pid()`
    const name = `${prefix}-stopped`
    const environment = {
      SCHEDULER_ANALYZE_RELATIONS: 'public.slow_rows',
      SCHEDULER_ANALYZE_RELATION_TIMEOUT: '10m',
      SCHEDULER_ANALYZE_TIMEOUT: '10m',
      SCHEDULER_BUDGET: '9m',
      SCHEDULER_GRACE: '3s',
    }
    const options = Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`])
    const ending = docker(runArguments([...hardened, '--name', name, ...options]))
    await postgres.sql(`
      DO $$ BEGIN WHILE NOT EXISTS (SELECT ${analyzing}) LOOP PERFORM pg_sleep(0.1), pg_stat_clear_snapshot(); END LOOP; END $$;`)
    // After that Docker would kill it: 137.
    await dockerOk(['stop', '-t', '30', name])
    const { exitCode, stdout } = await ending
    expect(exitCode).toBe(143)
    expect(records(stdout).find(({ event }) => event === 'run-ended')).toMatchObject({ exitCode: 143 })
    expect(await postgres.sql(`SELECT count(*) ${analyzing}`)).toBe('0')
    expect(await postgres.sql(`SELECT count(*) FROM scheduler.task WHERE ticket IS NOT NULL`)).toBe('0')
  })

  it('is stopped by docker stop in the middle of retention: each row is live or in the store, and the next run goes on', async () => {
    const rows = 20_000
    await postgres.sql(`
      CREATE TABLE old_rows (id bigint PRIMARY KEY, at timestamptz NOT NULL, payload text NOT NULL);
      CREATE INDEX ON old_rows (at);
      INSERT INTO old_rows SELECT i, now() - interval '6 years' - i * interval '1 second', repeat(md5(i::text), 8) FROM generate_series(1, ${rows}) AS i;
      INSERT INTO old_rows VALUES (0, now(), 'new');`)
    const store = temporaryFolder()
    chmodSync(store, 0o777)
    const name = `${prefix}-stopped`
    const environment = {
      SCHEDULER_TASKS: 'retention',
      SCHEDULER_COLD_STORAGE_URL: 'file:///cold',
      SCHEDULER_RETENTION_POLICIES: JSON.stringify([{ name: 'old', relation: 'public.old_rows', timeColumn: 'at' }]),
      SCHEDULER_RETENTION_BATCH_ROWS: '200',
    }
    const options = Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`])
    const mounted = [...hardened, '--memory', '256m', '--volume', `${store}:/cold`, ...options]
    const count = async () => {
      const live = await postgres.sql('SELECT count(*) FROM old_rows WHERE id > 0')
      const archived = await postgres.sql(`SELECT coalesce(sum(o.row_count), 0) FROM scheduler.archive_object o
        JOIN scheduler.archive_batch b ON b.id = o.batch_id WHERE b.policy = 'old' AND b.state = 'deleted'`)
      return { live: Number(live), archived: Number(archived) }
    }
    const ending = docker(runArguments([...mounted, '--name', name], ['run', '--force', '--json']))
    await postgres.sql(`
      DO $$ BEGIN
        WHILE to_regclass('scheduler.action') IS NULL LOOP PERFORM pg_sleep(0.02); END LOOP;
        WHILE (SELECT count(*) FROM scheduler.action WHERE kind = 'delete-rows') < 5 LOOP PERFORM pg_sleep(0.02); END LOOP;
      END $$;`)
    await dockerOk(['stop', '-t', '30', name])
    const { exitCode } = await ending
    expect(exitCode).toBe(143)
    const stopped = await count()
    expect(stopped.live).toBeGreaterThan(0)
    expect(stopped.archived).toBeGreaterThanOrEqual(1000)
    expect(stopped.live + stopped.archived).toBe(rows)
    expect(await postgres.sql(`SELECT count(*) FROM scheduler.task WHERE ticket IS NOT NULL`)).toBe('0')
    expect((await run(mounted, ['run', '--force'])).exitCode).toBe(0)
    expect(await count()).toEqual({ live: 0, archived: rows })
  })

  it('runs a third-party task from a mounted folder', async () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'node_modules'))
    cpSync(join(examples, 'task-hello'), join(folder, 'node_modules/battlescope-task-hello'), { recursive: true })
    const zod = dirname(createRequire(import.meta.url).resolve('zod/package.json'))
    cpSync(realpathSync(zod), join(folder, 'node_modules/zod'), { recursive: true, dereference: true })
    const { exitCode, stdout, stderr } = await run([
      ...[
        ...hardened,
        '--memory',
        '256m',
        '--volume',
        `${folder}:/plugins:ro`,
        '--env',
        'SCHEDULER_PLUGIN_DIR=/plugins',
      ],
      ...['--env', 'SCHEDULER_TASKS=analyze,npm:battlescope-task-hello', '--env', 'SCHEDULER_HELLO_WHOM=mount'],
      // A script that runs from a cache cannot import(): packages must load all the same.
      ...['--env', 'NODE_DEBUG=code-cache'],
    ])
    expect(exitCode).toBe(0)
    expect(stderr).toContain('code cache: main.cjs accepted')
    expect(records(stdout)).toContainEqual(expect.objectContaining({ event: 'hello', task: 'hello', whom: 'mount' }))
  })

  it('runs a third-party task that was installed on top of it, and gives the packages as a volume', async () => {
    const context = temporaryFolder()
    cpSync(join(examples, 'task-packages'), context, { recursive: true })
    await execa('npm', ['pack', '--silent', '--pack-destination', context], { cwd: join(examples, 'task-hello') })
    const archive = 'file:./battlescope-task-hello-1.0.0.tgz'
    writeFileSync(
      join(context, 'package.json'),
      JSON.stringify({ dependencies: { 'battlescope-task-hello': archive } }),
    )
    const [tag, volume] = [`${prefix}:with-packages`, `${prefix}:volume`]
    images.push(tag, volume)
    const base = ['--build-arg', `SCHEDULER_IMAGE=${image}`]
    await dockerOk(buildArguments(tag, ...base, context))

    const tasks = ['--env', 'SCHEDULER_TASKS=npm:battlescope-task-hello']
    const { exitCode, stdout } = await run([...hardened, ...tasks], [], tag)
    expect(exitCode).toBe(0)
    expect(records(stdout)).toContainEqual(expect.objectContaining({ event: 'hello', whom: 'world' }))
    expect(await dockerOk(['image', 'inspect', '--format', '{{.Config.User}}', tag])).toBe('1000:1000')

    await dockerOk(buildArguments(volume, ...base, '--target', 'volume', context))
    // What no container can be started from still has files.
    const id = await dockerOk(['create', volume, 'never-started'])
    const unpacked = temporaryFolder()
    await dockerOk(['cp', `${id}:/node_modules`, unpacked])
    await dockerOk(['rm', id])
    const manifest = readFileSync(join(unpacked, 'node_modules/battlescope-task-hello/package.json'), 'utf8')
    expect(JSON.parse(manifest)).toMatchObject({ version: '1.0.0' })
  })

  it('takes a dump where it has pg_dump, and says what is missing where it has not', async (context) => {
    const tag = `${prefix}:backup`
    images.push(tag)
    const argv = ['--build-arg', `SCHEDULER_IMAGE=${image}`, '--file', join(repository, 'docker/backup.Dockerfile')]
    const built = await docker(buildArguments(tag, ...argv, join(repository, 'docker')))
    if (/Failed to fetch|Temporary failure|Unable to locate package/.test(`${built.stdout}\n${built.stderr}`))
      context.skip("Debian's packages cannot be reached from a build; give Docker a proxy")
    expect([built.exitCode, built.stderr.slice(-2000)]).toEqual([0, expect.anything()])
    expect(await dockerOk(['image', 'inspect', '--format', '{{.Config.User}}', tag])).toBe('1000:1000')

    const store = temporaryFolder()
    chmodSync(store, 0o777)
    const options = [
      ...[...hardened, '--memory', '256m', '--volume', `${store}:/store`],
      ...['--env', 'SCHEDULER_TASKS=backup', '--env', 'SCHEDULER_BACKUP_DRIVER=pg-dump'],
      ...['--env', 'SCHEDULER_COLD_STORAGE_URL=file:///store'],
    ]
    const stock = await run(options, ['run', '--force'])
    expect(stock.exitCode).toBe(1)
    expect(stock.stdout).toContain('there is no program pg_dump here')
    expect(stock.stdout).toContain('the stock image has neither pg_dump nor backup tools')
    expect(readdirSync(store)).not.toContain('backups')

    const taken = await run(options, ['run', '--force'], tag)
    expect([taken.exitCode, taken.stderr]).toEqual([0, ''])
    expect(readdirSync(join(store, 'backups/manifests'))).toHaveLength(1)
    const verified = await run(options, ['backup', 'verify', '--deep'], tag)
    expect(verified.exitCode).toBe(0)
    // What it is for is what the plain image lacks; everything else is the same program.
    expect((await run([...hardened], ['plan'], tag)).exitCode).toBe(0)
  })

  it('is run again and again by the loop of the compose file, which stops when it is told to', async () => {
    const name = `${prefix}-loop`
    const script = `${join(repository, 'docker/run-every.mjs')}:/run-every.mjs:ro`
    const loop = execa(
      'docker',
      runArguments(
        [...hardened, '--name', name, '--volume', script, '--entrypoint', 'node'],
        [...['/run-every.mjs', '0.1', '/app/bin/battlescope-scheduler.js']],
      ),
      { reject: false, stdin: 'ignore' },
    )
    let runs = 0
    for await (const line of createInterface({ input: loop.stdout })) {
      if (records(line).some(({ event }) => event === 'run-ended') && ++runs === 2) await dockerOk(['stop', name])
    }
    expect(runs).toBeGreaterThanOrEqual(2)
    expect((await loop).exitCode).toBe(0)
  })
})

describe.skipIf(missing !== '')(`a build of something else${missing}`, () => {
  it.each([
    ['the folder it had before', ['BUILD_TARGET=backend/scheduler']],
    ['another folder', ['BUILD_TARGET=apps/demo']],
    ['another scope', ['SERVICE_SCOPE=@battlescope/api']],
  ])('%s: fails, and says what can be built', async (_what, values) => {
    const { exitCode, stdout, stderr } = await docker(
      buildArguments(
        `${prefix}:never`,
        ...values.flatMap((value) => ['--build-arg', value]),
        ...['--file', join(repository, 'docker/Dockerfile'), repository],
      ),
    )
    const printed = `${stdout}\n${stderr}`
    expect(exitCode).not.toBe(0)
    expect(printed).toContain(`'${values[0]!.split('=')[1]}'`)
    expect(printed).toContain('allowed: SERVICE_SCOPE=@battlescope/scheduler BUILD_TARGET=apps/scheduler')
  })
})
