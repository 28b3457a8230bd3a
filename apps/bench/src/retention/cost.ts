/** What work costs: time, which a busy machine stretches, and CPU of the server and of what this process started, which it changes less. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'

export interface Cost {
  readonly ms: number
  /** NaN where there is no /proc, and for a server elsewhere. */
  readonly cpuMs: number
}

export async function costOf<T>(client: pg.Client, work: () => Promise<T>): Promise<Cost & { readonly result: T }> {
  const serverPid = await selectServerPid(client)
  const before = cpuMs(serverPid)
  const startedMs = performance.now()
  const result = await work()
  const ms = performance.now() - startedMs
  // A process that is just ending is in neither sum, its own or its parent's.
  await sleep(300)
  return { ms, cpuMs: cpuMs(serverPid) - before, result }
}

async function selectServerPid(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: string }>(
    `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1) AS pid`,
  )
  return Number(rows[0]?.pid)
}

/** Of the server's processes and of this one's children, ended ones included; /proc/PID/stat counts in hundredths of a second. */
function cpuMs(serverPid: number): number {
  try {
    const all = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => statOf(name))
    const server = all.filter(({ pid, parent }) => pid === serverPid || parent === serverPid)
    const parents = all.filter(({ pid }) => pid === serverPid || pid === process.pid)
    if (server.length === 0) return NaN
    return 10 * (sum(server.map(({ ticks }) => ticks)) + sum(parents.map(({ childrenTicks }) => childrenTicks)))
  } catch {
    return NaN
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)

/** A process that has ended meanwhile counts nothing. */
function statOf(name: string) {
  const fields = readStat(name).split(' ')
  const number = (index: number) => Number(fields[index] ?? 0)
  // Fields after the name, from the third on: state, ppid, …, utime (14), stime, cutime, cstime.
  return {
    pid: Number(name),
    parent: number(1),
    ticks: number(11) + number(12),
    childrenTicks: number(13) + number(14),
  }
}

function readStat(name: string): string {
  try {
    const text = readFileSync(`/proc/${name}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2)
  } catch {
    return ''
  }
}
