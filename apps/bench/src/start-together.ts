/** Many processes start at the same moment: every slot succeeds exactly once, and no two runs of one task overlap. */
import { openSlots, selectOverlaps, selectRepeated, slotOf, slotted, type World } from './world.js'

export interface StartTogetherReport {
  readonly rounds: number
  readonly processes: number
  /** Runs that ended well, by task. */
  readonly succeeded: Readonly<Record<string, number>>
  /** Processes that gave up the package with the tasks, because its import took too long: what a crowded machine does. */
  readonly gaveUp: number
  readonly violations: readonly string[]
}

const tasks = [...slotted, 'stress-every-run']
/**
 * In every second round all but one task are short. Whoever runs the long one still believes the others due when another process has
 * long finished them: the case in which a claim that looks at the ticket alone would run a slot twice.
 */
const short = { SCHEDULER_STRESS_CRON_HOLD: '20', SCHEDULER_STRESS_EVERY_RUN_HOLD: '20' }

export async function startTogether(
  world: World,
  { rounds, processes }: { readonly rounds: number; readonly processes: number },
  onRound: (round: number) => void = () => undefined,
): Promise<StartTogetherReport> {
  const violations: string[] = []
  let gaveUp = 0
  await world.start(tasks).ended
  for (let round = 0; round < rounds; round += 1) {
    await openSlots(world, round)
    const runs = await Promise.all(
      Array.from({ length: processes }, () => world.start(tasks, round % 2 === 0 ? {} : short).ended),
    )
    for (const { exitCode, rest, log } of runs) {
      if (exitCode === 0) continue
      // Asked for by name and claimed by another process: 75 is the answer.
      if (exitCode === 75) continue
      if (exitCode === 1 && log.some(isLateImport)) {
        gaveUp += 1
        continue
      }
      violations.push(`round ${round}: exit code ${exitCode ?? 'none'}: ${rest}${JSON.stringify(log.at(-1))}`)
    }
    for (const task of slotted) {
      const slot = slotOf(task, round)
      const [row] = await world.query<{ effects: string; successes: string }>(
        `SELECT (SELECT count(*) FROM public.effect WHERE slot = '${slot}') AS effects,
          (SELECT count(*) FROM scheduler.task_run WHERE slot_id = '${slot}' AND outcome = 'succeeded') AS successes`,
      )
      if (row?.effects !== '1' || row.successes !== '1')
        violations.push(`${slot}: ${row?.effects ?? '?'} effects, ${row?.successes ?? '?'} successes`)
    }
    onRound(round)
  }
  violations.push(...(await selectOverlaps(world)), ...(await selectRepeated(world)))
  const left = await world.query('SELECT task FROM scheduler.claim')
  if (left.length > 0) violations.push(`${left.length} claims were left behind`)
  const rows = await world.query<{ task: string; count: string }>(
    `SELECT task, count(*) FROM scheduler.task_run WHERE outcome = 'succeeded' GROUP BY 1 ORDER BY 1`,
  )
  return {
    rounds,
    processes,
    gaveUp,
    succeeded: Object.fromEntries(rows.map(({ task, count }) => [task, Number(count)])),
    violations,
  }
}

function isLateImport({ event, reason }: Readonly<Record<string, unknown>>): boolean {
  return event === 'task-disabled' && typeof reason === 'string' && reason.includes('did not come back within')
}
