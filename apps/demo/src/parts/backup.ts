import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { connect } from '../database.js'
import type { Part, Stage } from '../stage.js'

const execute = promisify(execFile)

export const backup: Part = {
  title: 'A backup, and back again',
  async run({ output, database, emptyUrl, schedulerWith, folder }) {
    const why = await whyNotHere(database)
    if (why !== undefined) {
      output.text(
        `Left out: ${why}. The task backup has somebody else take large backups (CloudNativePG, a service, a command)`,
        'and small ones itself, with pg_dump, which is what would be shown here.',
      )
      return
    }
    const store = join(folder, 'backups')
    await mkdir(store)
    const options = {
      SCHEDULER_TASKS: 'backup',
      SCHEDULER_BACKUP_DRIVER: 'pg-dump',
      SCHEDULER_COLD_STORAGE_URL: pathToFileURL(store).href,
    }
    output.text(
      'A database as small as this one the task backs up itself: pg_dump streams into the cold storage, what arrived is read back and compared,',
      'and only then does it count.',
    )
    await schedulerWith(options, 'run', '--task', 'backup', '--force')
    await schedulerWith(options, 'backup', 'list')
    await schedulerWith(options, 'backup', 'verify', '--deep')
    output.text('', 'A backup that was never restored is a hope. Into another, empty database:')
    // In a file, because the list of processes shows arguments to everybody.
    const target = join(folder, 'restore-to')
    await writeFile(target, emptyUrl, { mode: 0o600 })
    await schedulerWith(options, 'backup', 'restore', '--to-file', target)
    const restored = await connect(emptyUrl)
    try {
      const [here, there] = [await contentOf(database), await contentOf(restored)]
      output.text('')
      output.table([
        ['table', 'rows', 'rows restored', 'content'],
        ...[...here].map(([name, content]) => [
          name,
          content.rows,
          there.get(name)?.rows ?? 0,
          there.get(name)?.hash === content.hash ? 'the same' : 'DIFFERENT',
        ]),
      ])
    } finally {
      await restored.end()
    }
  },
}

/** Undefined where there are a pg_dump and a pg_restore that know this server. */
async function whyNotHere(database: Stage['database']): Promise<string | undefined> {
  const { rows } = await database.query<{ major: number }>(
    `select current_setting('server_version_num')::int / 10000 as major`,
  )
  const server = rows[0]?.major ?? 0
  for (const program of ['pg_dump', 'pg_restore']) {
    const version = await execute(program, ['--version']).then(
      ({ stdout }) => Number(/(\d+)/.exec(stdout)?.[1] ?? 0),
      () => undefined,
    )
    if (version === undefined)
      return `there is no ${program} here (Debian: apt-get install postgresql-client; macOS: brew install libpq)`
    if (version < server)
      return `${program} is of PostgreSQL ${version}, and must be as new as the server, which is ${server}`
  }
  return undefined
}

/** Of each of BattleScope's tables, whatever the order of its rows. */
async function contentOf(
  database: Stage['database'],
): Promise<ReadonlyMap<string, { readonly rows: number; readonly hash: string }>> {
  const { rows: tables } = await database.query<{ name: string }>(
    `select c.relname as name from pg_catalog.pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 1`,
  )
  const contents = new Map<string, { rows: number; hash: string }>()
  for (const { name } of tables) {
    const { rows } = await database.query<{ count: string; hash: string }>(
      `select count(*) as count, coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text as hash
       from public.${database.escapeIdentifier(name)} t`,
    )
    contents.set(name, { rows: Number(rows[0]?.count ?? 0), hash: rows[0]?.hash ?? '' })
  }
  return contents
}
