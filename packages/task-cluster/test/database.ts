import { createRequire } from 'node:module'
import { readFileSync, realpathSync } from 'node:fs'
import type { TestDatabase } from '@battlescope/scheduler-testing'

/** The README's own definition, so that whoever follows it has what is tested. */
export const jobTable =
  /<!-- job-table:start -->\s*```sql\n(.*?)```/s.exec(readFileSync('README.md', 'utf8'))?.[1] ?? ''

/** Killmails of the minutes that began so many minutes ago, `from` and `to` included: one in the middle of each, far from every limit. */
export async function insertKillmails(database: TestDatabase, from: number, to: number): Promise<void> {
  await database.query(
    `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url)
     SELECT coalesce((SELECT max(killmail_id) FROM killmail_events), 0) + i, 30000142,
       now() - (i + $1::int - 1.5) * interval '1 minute', now() - (i + $1::int - 1.5) * interval '1 minute', ''
     FROM generate_series(1, $2::int - $1::int + 1) AS i`,
    [from, to],
  )
}

export interface Notification {
  readonly channel: string
  readonly payload?: string
}

interface Client {
  connect(): Promise<void>
  query(sql: string): Promise<unknown>
  on(event: 'notification', listener: (notification: Notification) => void): void
  end(): Promise<void>
}

/** A session that listens, as the service would. The driver is the one of the package that makes test databases. */
export async function listen(database: TestDatabase, channel: string) {
  const load = createRequire(`${realpathSync('node_modules/@battlescope/scheduler-testing')}/package.json`)
  const { Client } = load('pg') as { Client: new (options: { connectionString: string }) => Client }
  const client = new Client({ connectionString: database.url })
  const heard: Notification[] = []
  client.on('notification', ({ channel: from, payload = '' }) => heard.push({ channel: from, payload }))
  await client.connect()
  await client.query(`LISTEN ${channel}`)
  return {
    /** Everything that was sent before: the server delivers it before it answers. */
    async heard(): Promise<readonly Notification[]> {
      await client.query('SELECT 1')
      return heard
    },
    stop: () => client.end(),
  }
}
