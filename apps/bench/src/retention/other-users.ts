/** Readers and writers on the hot end of the tables, by pgbench at a fixed rate, while somebody deletes at the cold one. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Copy } from './databases.js'

const reads = `
\\set id random(:first, :last)
SELECT e.*, n.status FROM public.killmail_events e LEFT JOIN public.killmail_enrichments n USING (killmail_id) WHERE killmail_id = :id;
SELECT * FROM public.pilot_ship_history WHERE killmail_id = :id;
`
const writes = `
\\set id random(:first, :last)
BEGIN;
INSERT INTO public.killmail_events (killmail_id, system_id, occurred_at, attacker_character_ids, isk_value, zkb_url)
  VALUES (nextval('public.bench_id'), 30000142, now(), '{1,2,3}', 1000000, 'https://zkillboard.com/kill/1/');
INSERT INTO public.killmail_enrichments (killmail_id, payload) VALUES (currval('public.bench_id'), '{"a": 1}');
UPDATE public.killmail_enrichments SET updated_at = now() WHERE killmail_id = :id;
COMMIT;
`
const clients = 8

export interface Felt {
  /** Seconds that the deleting took. */
  readonly seconds: number
  /** Transactions that ended in that time, of those that should have begun. */
  readonly rate: number
  readonly p50Ms: number
  readonly p95Ms: number
  readonly p99Ms: number
}

interface Load {
  readonly child: ChildProcess
  readonly folder: string
  readonly ended: Promise<unknown>
}

async function prepare({ client }: Copy): Promise<readonly string[]> {
  const { rows } = await client.query<{ first: string; last: string }>(
    `SELECT max(killmail_id) - (max(killmail_id) - min(killmail_id)) / 20 AS first, max(killmail_id) AS last FROM public.killmail_events`,
  )
  const { first = '0', last = '0' } = rows[0] ?? {}
  await client.query(`CREATE SEQUENCE IF NOT EXISTS public.bench_id START ${Number(last) + 1_000_000}`)
  return ['-D', `first=${first}`, '-D', `last=${last}`]
}

async function start(copy: Copy, seconds: number, rate: number | undefined): Promise<Load> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-load-'))
  const variables = await prepare(copy)
  await writeFile(join(folder, 'reads.sql'), reads)
  await writeFile(join(folder, 'writes.sql'), writes)
  const argv = [
    ...['-n', '-c', String(clients), '-j', '1', '-T', String(seconds), '-M', 'prepared', ...variables],
    ...['-f', `${join(folder, 'reads.sql')}@8`, '-f', `${join(folder, 'writes.sql')}@2`],
    ...['-l', '--log-prefix', join(folder, 'log')],
    ...(rate === undefined ? [] : ['-R', String(rate)]),
    copy.url,
  ]
  const child = spawn('pgbench', argv, { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = once(child, 'close').then(([code]) => {
    if (code !== 0 && child.signalCode === null) throw new Error(`pgbench: ${stderr}`)
  })
  return { child, folder, ended }
}

interface Transaction {
  readonly endedAt: number
  readonly tookMs: number
}

/** Columns: client, number, latency in µs (from when it should have begun), script, seconds and µs of its end, lag. */
async function readLog(folder: string): Promise<readonly Transaction[]> {
  const names = (await readdir(folder)).filter((name) => name.startsWith('log'))
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  return texts.flatMap((text) =>
    text.split('\n').flatMap((line) => {
      const [, , latency, , seconds, micros] = line.split(' ')
      if (micros === undefined) return []
      return [{ endedAt: Number(seconds) + Number(micros) / 1e6, tookMs: Number(latency) / 1000 }]
    }),
  )
}

/** Transactions per second when nothing holds them back. */
export async function saturate(copy: Copy, seconds: number): Promise<number> {
  const load = await start(copy, seconds, undefined)
  await load.ended
  const all = await readLog(load.folder)
  await rm(load.folder, { recursive: true })
  return all.length / seconds
}

/** In seconds, as pgbench's log has it: of the same machine. */
async function selectNow({ client }: Copy): Promise<number> {
  const { rows } = await client.query<{ now: string }>('SELECT extract(epoch FROM clock_timestamp())::text AS now')
  return Number(rows[0]?.now)
}

/** What the load feels of `work`, at this many transactions per second. */
export async function feel(
  copy: Copy,
  { rate, quietSeconds }: { readonly rate: number; readonly quietSeconds: number },
  work: () => Promise<unknown>,
): Promise<{ readonly during: Felt; readonly before: Felt }> {
  const load = await start(copy, 3600, rate)
  await sleep(quietSeconds * 1000)
  const from = await selectNow(copy)
  await work()
  const to = await selectNow(copy)
  // What should have begun before the end may be still on its way.
  await sleep(1000)
  load.child.kill('SIGINT')
  await load.ended
  const all = await readLog(load.folder)
  await rm(load.folder, { recursive: true })
  const within = (first: number, last: number): Felt => {
    const seconds = last - first
    const ended = all.filter(({ endedAt }) => endedAt >= first && endedAt < last).length
    const felt = all
      .filter(({ endedAt, tookMs }) => endedAt - tookMs / 1000 >= first && endedAt - tookMs / 1000 < last)
      .map(({ tookMs }) => tookMs)
      .sort((a, b) => a - b)
    const at = (share: number) => felt[Math.floor(felt.length * share)] ?? NaN
    return { seconds, rate: ended / (rate * seconds), p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99) }
  }
  return { during: within(from, to), before: within(from - quietSeconds / 2, from) }
}
