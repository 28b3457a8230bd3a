/** `kill -9` at instants drawn over the whole span of a run: nothing is blocked for longer than a claim, nothing succeeds twice. */
import { setTimeout as sleep } from 'node:timers/promises'
import { median } from './median.js'
import {
  expireClaims,
  openSlots,
  selectOverlaps,
  selectRepeated,
  slotOf,
  slotted,
  type Ended,
  type World,
} from './world.js'

export const phases = [
  'before the first task',
  'claimed, its effect not committed',
  'effect committed, not recorded',
  'recorded, between tasks or at the end',
  'after its end',
] as const
export type Phase = (typeof phases)[number]

export interface KillReport {
  readonly kills: number
  /** Milliseconds after the start of the process between which instants were drawn at last: from the first claim to the end. */
  readonly spanMs: readonly [number, number]
  readonly hits: Readonly<Record<Phase, number>>
  /** Killed between the commit of an effect and its record: the slot is run again, as at-least-once has it. */
  readonly effectsRepeated: number
  /** Runs right after a kill that found the killed one's claim still good. */
  readonly nextRunWaited: number
  readonly violations: readonly string[]
}

const tasks = [...slotted, 'stress-every-run']
/** Short, so that much of the span is claims, commits and records. */
const hold = Object.fromEntries(
  tasks.map((task) => [`SCHEDULER_${task.toUpperCase().replaceAll('-', '_')}_HOLD`, '30'] as const),
)

export async function killAnywhere(
  world: World,
  { kills }: { readonly kills: number },
  onKill: (kill: number) => void = () => undefined,
): Promise<KillReport> {
  const measured: Span[] = []
  // The first run makes the schema.
  await world.start(tasks, hold).ended
  for (let run = 0; run < spansKept; run += 1) measured.push(await measureSpan(world, run))
  const hits: Record<Phase, number> = {
    'before the first task': 0,
    'claimed, its effect not committed': 0,
    'effect committed, not recorded': 0,
    'recorded, between tasks or at the end': 0,
    'after its end': 0,
  }
  const violations: string[] = []
  let nextRunWaited = 0
  for (let kill = 0; kill < kills; kill += 1) {
    // The machine is not equally fast all the time: the span is measured again and again.
    if (kill % 5 === 4) measured.push(await measureSpan(world, spansKept + kill))
    const spanMs = typicalSpan(measured)
    const round = 10_000 + kill
    await openSlots(world, round)
    const running = world.start(tasks, hold)
    // One instant in each of as many equal parts of the span, at a random place in it.
    await sleep(spanMs[0] + ((kill + Math.random()) / kills) * (spanMs[1] - spanMs[0]))
    running.child.kill('SIGKILL')
    const killed = await running.ended
    hits[await phaseOf(world, killed)] += 1

    const next = await world.start(tasks, hold).ended
    if (next.exitCode === 75) nextRunWaited += 1
    else if (next.exitCode !== 0)
      violations.push(`after kill ${kill}: exit code ${next.exitCode ?? 'none'}: ${next.rest}`)
    await expireClaims(world)
    const nextButOne = await world.start(tasks, hold).ended
    if (nextButOne.exitCode !== 0)
      violations.push(
        `kill ${kill} blocks the next run but one: exit code ${nextButOne.exitCode ?? 'none'}: ${nextButOne.rest}`,
      )
    for (const task of slotted) {
      const slot = slotOf(task, round)
      const [row] = await world.query<{ count: string }>(
        `SELECT count(*) FROM scheduler.task_run WHERE slot_id = '${slot}' AND outcome = 'succeeded'`,
      )
      if (row?.count !== '1') violations.push(`kill ${kill}: ${slot} succeeded ${row?.count ?? '?'} times`)
    }
    onKill(kill)
  }
  violations.push(...(await selectOverlaps(world)), ...(await selectRepeated(world)))
  const [repeated] = await world.query<{ count: string }>(
    `SELECT count(*) FROM (SELECT slot FROM public.effect GROUP BY slot HAVING count(*) > 1) AS repeated`,
  )
  return {
    kills,
    spanMs: typicalSpan(measured),
    hits,
    effectsRepeated: Number(repeated?.count),
    nextRunWaited,
    violations,
  }
}

type Span = readonly [startMs: number, endMs: number]
/** The newest so many measurements count. */
const spansKept = 5

/** From the start of the first task to the end of the process, of a run that nobody kills. */
async function measureSpan(world: World, round: number): Promise<Span> {
  await openSlots(world, round)
  const startedMs = performance.now()
  const running = world.start(tasks, hold)
  await running.until('task-started')
  const firstTaskMs = performance.now() - startedMs
  await running.ended
  return [firstTaskMs, performance.now() - startedMs]
}

/** Each end's median, and some milliseconds before the first task's start, so that its claim is hit, too. */
function typicalSpan(measured: readonly Span[]): Span {
  const newest = measured.slice(-spansKept)
  return [median(newest.map(([startMs]) => startMs)) - 15, median(newest.map(([, endMs]) => endMs))]
}

/** Where the kill hit, by what the database has and what was logged last. */
async function phaseOf(world: World, { exitCode, log }: Ended): Promise<Phase> {
  if (exitCode !== undefined) return 'after its end'
  const last = log.findLast(({ event }) => event === 'task-started' || event === 'task-ended' || event === 'run-ended')
  if (last === undefined) return 'before the first task'
  if (last['event'] !== 'task-started') return 'recorded, between tasks or at the end'
  const slot = String(last['slot'])
  // The server notices the end of its client when it next writes to it: until then the transaction is open.
  await world.query(`SELECT 1 FROM scheduler.task WHERE name = '${String(last['task'])}' FOR UPDATE`)
  const [row] = await world.query<{ effect: boolean; recorded: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM public.effect WHERE slot = '${slot}') AS effect,
      EXISTS (SELECT 1 FROM scheduler.task_run WHERE slot_id = '${slot}') AS recorded`,
  )
  if (row?.recorded === true) return 'recorded, between tasks or at the end'
  return row?.effect === true ? 'effect committed, not recorded' : 'claimed, its effect not committed'
}
