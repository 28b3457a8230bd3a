/** A process that was stopped beyond its claim, while another one took over, commits nothing when it goes on. */
import { expireClaims, openSlots, slotOf, type World } from './world.js'

export interface StopReport {
  /** What the stopped process ended with. */
  readonly exitCode: number | undefined
  readonly outcome: unknown
  readonly violations: readonly string[]
}

const task = 'stress-steps'

export async function stopAndContinue(world: World): Promise<StopReport> {
  const violations: string[] = []
  await world.start([task], { SCHEDULER_STRESS_STEPS_HOLD: '0' }).ended
  await openSlots(world, 500)
  await world.query('TRUNCATE public.effect')
  // Long enough for the signal to arrive between the two steps.
  const stopped = world.start([task], { SCHEDULER_STRESS_STEPS_HOLD: '1500' })
  await stopped.until('step-done')
  stopped.child.kill('SIGSTOP')
  try {
    await expireClaims(world)
    const other = await world.start([task], { SCHEDULER_STRESS_STEPS_HOLD: '0' }).ended
    if (other.exitCode !== 0)
      violations.push(`the other process could not take over: ${other.exitCode ?? 'none'}: ${other.rest}`)
  } finally {
    stopped.child.kill('SIGCONT')
  }
  const { exitCode, log } = await stopped.ended
  const slot = slotOf(task, 500)
  const effects = await world.query<{ slot: string; tickets: string }>(
    'SELECT slot, count(DISTINCT ticket) AS tickets, count(*) FROM public.effect GROUP BY slot ORDER BY slot',
  )
  const expected = [
    // Before it was stopped, and once more by whoever took over.
    { slot: `${slot} step 1`, tickets: '2', count: '2' },
    { slot: `${slot} step 2`, tickets: '1', count: '1' },
  ]
  if (JSON.stringify(effects) !== JSON.stringify(expected)) violations.push(`committed: ${JSON.stringify(effects)}`)
  const ended = log.find(({ event, task: name }) => event === 'task-ended' && name === task)
  if (ended?.['errorCode'] !== 'lost-claim') violations.push(`ended as ${JSON.stringify(ended)}`)
  const successes = await world.query(
    `SELECT 1 FROM scheduler.task_run WHERE slot_id = '${slot}' AND outcome = 'succeeded'`,
  )
  if (successes.length !== 1) violations.push(`${slot} succeeded ${successes.length} times`)
  return { exitCode, outcome: ended?.['errorCode'], violations }
}
