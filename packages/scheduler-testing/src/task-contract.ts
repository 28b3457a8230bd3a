/**
 * What every task must hold, as checks against real PostgreSQL. `describeTaskContract` makes tests of them; they are plain functions so
 * that the suite itself can be tested on tasks that break each rule.
 */
import { readFileSync } from 'node:fs'
import { createTestDatabase, leakCheck, type TestDatabase, type DatabaseTemplate } from '@battlescope/postgres-testing'
import {
  isTask,
  migrate,
  taskProblems,
  type AnyTask,
  type ClientFactories,
  type ClientRequest,
  type Connections,
  type PlannedAction,
} from '@battlescope/scheduler-core'
import { openConnections } from '@battlescope/database'
import { fingerprint } from './fingerprint.js'
import { runOneTask, type OneTaskRun, type RunOneTaskOptions } from './run-one-task.js'

export interface TaskContractOptions {
  /** Gives the database work for the task: the plan must not be empty afterwards. */
  readonly seed: (database: TestDatabase) => Promise<void>
  /** What the task needs to find although there is nothing to do: its relations. Default: an empty database. */
  readonly unseeded?: (database: TestDatabase) => Promise<void>
  /** Options that differ from the defaults. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly clients?: ClientFactories
  /** Why a second run rightly acts again. Default: a second run does nothing. */
  readonly repeats?: string
  /** A template that databases are cloned from, for large schemas. */
  readonly template?: DatabaseTemplate
  /** Folder of the package, for its name. `false` where a package holds several tasks. Default: the current folder. */
  readonly packageFolder?: string | false
  /** The most runs that a task with an exhausted budget may take to finish the seeded work. Default: 50. */
  readonly mostRuns?: number
}

export interface ContractCheck {
  readonly name: string
  /** Rejects with what is wrong. */
  run(): Promise<void>
}

/** Ends a check. */
class ContractViolation extends Error {
  override readonly name = 'ContractViolation'
}

export function taskContract(task: AnyTask, options: TaskContractOptions): readonly ContractCheck[] {
  const contract = new Contract(task, options)
  return [
    { name: 'fits the contract, and its package has its name', run: () => contract.fits() },
    { name: 'describes every option and has a default for it', run: () => contract.describesOptions() },
    { name: 'works on an empty database', run: () => contract.worksOnEmpty() },
    { name: 'plans nothing where there is nothing to do', run: () => contract.plansNothingUnseeded() },
    { name: 'plans work on the seeded database', run: () => contract.plansSeeded() },
    { name: 'changes nothing in a dry run', run: () => contract.dryRunChangesNothing() },
    { name: 'does in a run what the plan said, and records it', run: () => contract.doesWhatPlanned() },
    { name: 'finds nothing to do in a second run', run: () => contract.secondRunDoesNothing() },
    { name: 'stops before the next statement when its signal aborts', run: () => contract.stopsOnAbort() },
    {
      name: 'is partial when the budget is exhausted, and the next runs finish',
      run: () => contract.partialThenFinishes(),
    },
    { name: 'is run once when two processes start together', run: () => contract.runsOnceOfTwo() },
    { name: 'leaves no connection open', run: () => contract.leavesNoConnection() },
  ]
}

class Contract {
  readonly #task: AnyTask
  readonly #options: TaskContractOptions

  constructor(task: AnyTask, options: TaskContractOptions) {
    this.#task = task
    this.#options = options
  }

  async fits(): Promise<void> {
    if (!isTask(this.#task)) throw new ContractViolation(`the task ${taskProblems(this.#task).join('; ')}`)
    const { packageFolder = '.' } = this.#options
    if (packageFolder === false) return
    const manifest = JSON.parse(readFileSync(`${packageFolder}/package.json`, 'utf8')) as { name: string }
    const expected = `task-${this.#task.name}`
    must(
      manifest.name.split('/').at(-1)?.endsWith(expected) === true,
      `the package '${manifest.name}' holds the task '${this.#task.name}': its name must end with '${expected}'`,
    )
    await Promise.resolve()
  }

  async describesOptions(): Promise<void> {
    const shape = (
      this.#task.configSchema as {
        shape: Record<string, { description?: string; safeParse(value: unknown): { success: boolean } }>
      }
    ).shape
    for (const [name, option] of Object.entries(shape)) {
      must(Boolean(option.description), `the option '${name}' has no description`)
      must(option.safeParse(undefined).success, `the option '${name}' has no default`)
    }
    await Promise.resolve()
  }

  async worksOnEmpty(): Promise<void> {
    await this.#onDatabase(
      () => Promise.resolve(),
      async (database) => {
        mustNotFail(await this.#run(database))
      },
      false,
    )
  }

  async plansNothingUnseeded(): Promise<void> {
    // Such a task may have something to do whatever it finds; the suite prints its reason.
    if (this.#options.repeats !== undefined) return
    await this.#onDatabase(this.#options.unseeded ?? (() => Promise.resolve()), async (database) => {
      const { task } = await this.#run(database, { dryRun: true })
      must((task.run?.actions.length ?? 0) === 0, `plans ${list(task.run?.actions)} although there is nothing to do`)
      mustNotFail(await this.#run(database))
    })
  }

  async plansSeeded(): Promise<void> {
    await this.#seeded(async (database) => {
      const run = await this.#run(database, { dryRun: true })
      mustNotFail(run)
      must(
        (run.task.run?.actions.length ?? 0) > 0,
        'plans nothing on the seeded database: every other check would prove nothing',
      )
    })
  }

  async dryRunChangesNothing(): Promise<void> {
    await this.#seeded(async (database) => {
      const before = await fingerprint(database)
      mustNotFail(await this.#run(database, { dryRun: true }))
      const after = await fingerprint(database)
      const names = new Set([...Object.keys(before), ...Object.keys(after)])
      const changed = [...names].filter((name) => before[name] !== after[name])
      must(changed.length === 0, `a dry run changed ${changed.join(', ')}: something writes outside act()`)
    })
  }

  async doesWhatPlanned(): Promise<void> {
    await this.#seeded(async (database) => {
      const plan = await this.#run(database, { dryRun: true })
      const run = await this.#runToEnd(database)
      const planned = keys(plan.task.run?.actions)
      const done = keys(run.flatMap(({ task }) => task.run?.actions ?? []))
      const missing = [...planned].filter((key) => !done.has(key))
      must(missing.length === 0, `planned but not done: ${missing.join(', ')}`)
      const recorded = await database.query<{ kind: string; target: string }>(
        `SELECT kind, target FROM scheduler.action WHERE task = $1 AND result = 'succeeded'`,
        [this.#task.name],
      )
      const trail = keys(recorded)
      const unrecorded = [...planned].filter((key) => !trail.has(key))
      must(unrecorded.length === 0, `done but not in the audit trail: ${unrecorded.join(', ')}`)
    })
  }

  async secondRunDoesNothing(): Promise<void> {
    if (this.#options.repeats !== undefined) return
    await this.#seeded(async (database) => {
      await this.#runToEnd(database)
      const again = await this.#run(database)
      mustNotFail(again)
      must((again.task.run?.actions.length ?? 0) === 0, `the second run does ${list(again.task.run?.actions)} again`)
    })
  }

  async stopsOnAbort(): Promise<void> {
    await this.#seeded(async (database) => {
      const hardStop = new AbortController()
      const begun: string[] = []
      const watching = this.#watching((unit) => {
        if (hardStop.signal.aborted) begun.push(unit)
        // The state of the scheduler itself is read and written before the task's first own unit.
        else if (unit === 'action') hardStop.abort('stopped by the contract suite')
      })
      const run = await this.#run(database, { hardStop: hardStop.signal, ...watching, abortGraceMs: 3000 })
      must(hardStop.signal.aborted, 'performed no action, so there was nothing to stop')
      must(run.task.run?.abandoned !== true, 'did not end after its signal aborted')
      must(run.task.run?.outcome === 'cancelled', `is '${String(run.task.run?.outcome)}' after its signal aborted`)
      must(begun.length === 0, `began ${begun.join(', ')} after its signal aborted`)
    })
  }

  async partialThenFinishes(): Promise<void> {
    await this.#seeded(async (database) => {
      const plan = await this.#run(database, { dryRun: true })
      const planned = keys(plan.task.run?.actions)
      const done = new Set<string>()
      const most = this.#options.mostRuns ?? 50
      for (let runs = 1; runs <= most; runs += 1) {
        // An exhausted budget looks to the task as a soft stop does: here it ends with the first action.
        const stop = new AbortController()
        const watching = this.#watching((unit) => {
          if (unit === 'action') stop.abort('SIGTERM')
        })
        const run = await this.#run(database, { stop: stop.signal, ...watching })
        mustNotFail(run)
        for (const key of keys(run.task.run?.actions)) done.add(key)
        if (run.task.run?.outcome !== 'partial') {
          const missing = [...planned].filter((key) => !done.has(key))
          must(
            missing.length === 0,
            `says '${String(run.task.run?.outcome)}' with an exhausted budget, but left ${missing.join(', ')}`,
          )
          return
        }
      }
      throw new ContractViolation(`was still partial after ${most} runs`)
    })
  }

  async runsOnceOfTwo(): Promise<void> {
    await this.#seeded(async (database) => {
      await prepareState(database)
      const arrived = meeting(2)
      // Who has claimed it runs only when the other has ended, or has claimed it, too: a short run would be over before the other one asks.
      const settled = meeting(2)
      const task: AnyTask = {
        ...this.#task,
        run: async (context) => {
          await settled()
          return this.#task.run(context)
        },
      }
      const both = await Promise.all(
        [1, 2].map(async () => {
          const run = await this.#run(database, {
            task,
            around: (connections) => ({
              ...bind(connections),
              transaction: async (unit, work) => {
                await arrived()
                return connections.transaction(unit, work)
              },
            }),
          })
          void settled()
          return run
        }),
      )
      const ran = both.filter(({ task }) => task.run !== undefined)
      must(ran.length === 1, `ran ${ran.length} times when two processes started together`)
      const [row] = await database.query<{ count: string }>('SELECT count(*) FROM scheduler.task_run')
      must(row?.count === '1', `left ${String(row?.count)} records when two processes started together`)
    })
  }

  async leavesNoConnection(): Promise<void> {
    await this.#seeded(async (database) => {
      await this.#run(database)
      await this.#run(database, { dryRun: true })
      await leakCheck(database.url)
    })
  }

  async #seeded(check: (database: TestDatabase) => Promise<void>): Promise<void> {
    await this.#onDatabase(async (database) => {
      await this.#options.unseeded?.(database)
      await this.#options.seed(database)
    }, check)
  }

  async #onDatabase(
    prepare: (database: TestDatabase) => Promise<void>,
    check: (database: TestDatabase) => Promise<void>,
    useTemplate = true,
  ): Promise<void> {
    const { template } = this.#options
    const database = await createTestDatabase(template === undefined || !useTemplate ? {} : { template })
    try {
      await prepare(database)
      await check(database)
    } finally {
      await database.drop()
    }
  }

  #watching(begins: (unit: Unit) => void): Pick<RunOneTaskOptions, 'around' | 'clients'> {
    const { clients } = this.#options
    return { around: watch(begins), ...(clients === undefined ? {} : { clients: watchClients(clients, begins) }) }
  }

  #run(database: TestDatabase, change: Partial<RunOneTaskOptions> = {}): Promise<OneTaskRun> {
    return runOneTask({
      task: this.#task,
      databaseUrl: database.url,
      // The contract is about the task, not about its calendar; an every-run task runs anyway.
      force: this.#task.schedule.kind !== 'every-run',
      ...(this.#options.config === undefined ? {} : { config: this.#options.config }),
      ...(this.#options.clients === undefined ? {} : { clients: this.#options.clients }),
      ...change,
    })
  }

  async #runToEnd(database: TestDatabase): Promise<readonly OneTaskRun[]> {
    const runs: OneTaskRun[] = []
    const most = this.#options.mostRuns ?? 50
    while (runs.length < most) {
      const run = await this.#run(database)
      mustNotFail(run)
      runs.push(run)
      if (run.task.run?.outcome !== 'partial') return runs
    }
    throw new ContractViolation(`was still partial after ${most} runs`)
  }
}

/** Makes the schema, so that two processes meet at the claim and not at the migration. */
async function prepareState(database: TestDatabase): Promise<void> {
  const connections = openConnections({ url: database.url, applicationName: 'battlescope-scheduler' })
  try {
    await migrate(connections, 'scheduler')
  } finally {
    await connections.close()
  }
}

type Unit = 'action' | 'read'

/**
 * Tells of every unit of work that the task begins. The scheduler's own units are told apart by the signal: only a task's unit carries
 * the abort signal of its run.
 */
function watch(begins: (unit: Unit) => void): NonNullable<RunOneTaskOptions['around']> {
  return (connections) => ({
    reader: (unit) => connections.reader(unit),
    snapshot: (unit, read) => {
      if (unit.signal !== undefined) begins('read')
      return connections.snapshot(unit, read)
    },
    transaction: (unit, work) => {
      if (unit.signal === undefined) return connections.transaction(unit, work)
      unit.signal.throwIfAborted()
      begins('action')
      return connections.transaction(unit, work)
    },
    direct: (unit, work) => {
      unit.signal?.throwIfAborted()
      begins('action')
      return connections.direct(unit, work)
    },
  })
}

/** Tells of every call that a task makes to the writing half of a client. As every client must, it ends with the signal of the run. */
function watchClients(factories: ClientFactories, begins: (unit: Unit) => void): ClientFactories {
  const watched = Object.entries(factories as Readonly<Record<string, Open | undefined>>).map(([kind, open]) => [
    kind,
    async (request: ClientRequest) => {
      const client = await open?.(request)
      const write = new Proxy(client?.write ?? {}, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name, target)
          if (typeof member !== 'function') return member
          return (...args: unknown[]) => {
            request.signal.throwIfAborted()
            begins('action')
            return Reflect.apply(member, target, args) as unknown
          }
        },
      })
      return { ...client, write, close: () => client?.close() ?? Promise.resolve() }
    },
  ])
  return Object.fromEntries(watched) as ClientFactories
}

type Open = (
  request: ClientRequest,
) => Promise<{ readonly read: object; readonly write: object; close(): Promise<void> }>

function bind(connections: Connections): Connections {
  return {
    reader: (unit) => connections.reader(unit),
    snapshot: (unit, read) => connections.snapshot(unit, read),
    transaction: (unit, work) => connections.transaction(unit, work),
    direct: (unit, work) => connections.direct(unit, work),
  }
}

/** Resolves for everyone as soon as `count` have called. */
function meeting(count: number): () => Promise<void> {
  let here = 0
  let open: () => void = () => undefined
  const all = new Promise<void>((resolve) => {
    open = resolve
  })
  return () => {
    here += 1
    if (here >= count) open()
    return all
  }
}

function must(condition: boolean, violation: string): asserts condition {
  if (!condition) throw new ContractViolation(violation)
}

function mustNotFail({ task }: OneTaskRun): void {
  const { run } = task
  must(run !== undefined, `did not run: ${task.reason}`)
  const fine = run.outcome === 'succeeded' || run.outcome === 'partial' || run.outcome === 'skipped'
  must(fine, `${run.outcome}: ${run.errorCode ?? ''} ${run.reason ?? ''}`)
}

function keys(actions: readonly Pick<PlannedAction, 'kind' | 'target'>[] = []): Set<string> {
  return new Set(actions.map(({ kind, target }) => `${kind} ${target}`))
}

function list(actions: readonly PlannedAction[] | undefined): string {
  return [...keys(actions)].join(', ') || 'nothing'
}
