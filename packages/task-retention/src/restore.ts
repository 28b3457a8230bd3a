/**
 * Brings archived rows back. The unit is a batch, because its rows hang on each other; the step is an object, whose rows go in with one
 * transaction that also renames it in the catalog. So a run that ends anywhere leaves each object either archived or live, and the next one
 * goes on with what is left: there is no checkpoint.
 */
import {
  catalogIn,
  decodeRows,
  insertHold,
  isVerified,
  markRestored,
  selectBatchesWithObjects,
  selectHolds,
  updateStoredState,
  type ArchiveObject,
  type BatchWithObjects,
  type RecordedOwner,
} from '@battlescope/archive'
import { formatPeriod, type Fenced, type TaskResult } from '@battlescope/scheduler-core'
import { codeOf, isStoreProblem } from './batch-errors.js'
import { cleanUp, reportStoreProblem } from './clean-up.js'
import type { Cursor } from './cursor.js'
import { takeStore } from './ownership.js'
import { createMonthStatement, selectCreateStatement } from './partition-records.js'
import { keyOf, resolvePolicies } from './policy.js'
import { keepCommit } from './queries.js'
import { findHolders, type MissingRows } from './referenced-batches.js'
import type { RestoreRequest } from './request.js'
import { copyToRestored, finishMove, movedName, readWhereverItLies, removeLeftovers } from './restored-objects.js'
import {
  addMonths,
  beginOfMonth,
  endOfHold,
  orderBatches,
  orderObjects,
  planRestoredColumns,
  type RestoredColumn,
  type Target,
} from './restore-plan.js'
import {
  compareRows,
  countUnfaithful,
  insertRows,
  pinTextInput,
  selectMissingReferences,
  selectTarget,
} from './restore-queries.js'
import type { Slice } from './slice.js'

export async function performRestore(slice: Slice, request: RestoreRequest): Promise<TaskResult> {
  const { context } = slice
  const { stateSchema } = context
  if (stateSchema === undefined) return { outcome: 'skipped', reason: 'nothing was ever archived from here' }
  await cleanUp(slice)
  const asked = await selectAsked(slice, stateSchema, request)
  if (asked.length === 0)
    return { outcome: 'skipped', reason: `nothing is archived from ${request.from} to ${request.to}` }
  const access = await takeStore(slice)
  if (access.kind === 'refused')
    return { outcome: 'skipped', reason: 'the store is not ours', findings: slice.findings }
  const restore = new Restore(slice, request, stateSchema, access.owner)
  await removeLeftovers(slice, asked)
  const left = orderBatches(asked.filter(isLeft), resolvePolicies(context.config))
  await restore.hold(left)
  try {
    for (const batch of left) {
      if (slice.mustStop) break
      await restore.batch(batch)
    }
  } catch (error) {
    if (!isStoreProblem(error)) throw error
    reportStoreProblem(slice, error)
    return { outcome: 'partial', remaining: restore.countLeft(left), findings: slice.findings }
  }
  const remaining = restore.countLeft(left)
  const { findings } = slice
  return remaining > 0 && !context.dryRun
    ? { outcome: 'partial', remaining, findings }
    : { outcome: 'succeeded', findings }
}

async function selectAsked(
  slice: Slice,
  stateSchema: string,
  request: RestoreRequest,
): Promise<readonly BatchWithObjects[]> {
  const batches = await selectBatchesWithObjects(catalogIn(slice.context.db, stateSchema), {
    states: ['deleted'],
    fromMonth: request.from,
    toMonth: request.to,
  })
  return request.relations === undefined
    ? batches
    : batches.filter(({ relation }) => request.relations?.includes(relation))
}

/** Whether something of it is not live yet. */
function isLeft({ objects }: BatchWithObjects): boolean {
  return objects.some(({ restoredAt }) => restoredAt === undefined)
}

/** Rows cannot come back as they were: nothing of the object goes in. */
class RestoreRefused extends Error {
  override readonly name = 'RestoreRefused'
  readonly code = 'restore-refused'
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message)
  }
}

interface Loaded {
  readonly object: ArchiveObject
  readonly target: Target
  readonly columns: readonly RestoredColumn[]
}

/** Beside integrity (23), data (22), what triggers raise (P0), views (44), triggers (27) and what is not supported (0A). Not 57, 40, 55, 53, 08. */
const refusedStates = new Set([
  '42501', // insufficient_privilege
  '42704', // undefined_object: a type that is gone
  '42846', // cannot_coerce
  '42P01', // undefined_table
  '42703', // undefined_column
])

/** One run of a restore. */
class Restore {
  readonly #targets = new Map<string, Target | undefined>()
  /** Batches that were begun in this run: restored, refused, or waiting for one that they need. */
  readonly #begun = new Set<string>()
  readonly #done = new Set<string>()
  /** Names of objects whose rows this run brought back. */
  readonly #restored = new Set<string>()

  constructor(
    private readonly slice: Slice,
    private readonly request: RestoreRequest,
    private readonly stateSchema: string,
    private readonly owner: RecordedOwner,
  ) {}

  /** Objects that are left for the next run. What was refused is not: it would be refused again. */
  countLeft(batches: readonly BatchWithObjects[]): number {
    return batches
      .filter(({ id }) => !this.#done.has(id))
      .flatMap(({ objects }) => objects)
      .filter(({ name, restoredAt }) => restoredAt === undefined && !this.#restored.has(name)).length
  }

  /** Before the first row goes in, in a transaction of its own: retention must never see the rows without it. */
  async hold(batches: readonly BatchWithObjects[]): Promise<void> {
    const { from, to } = this.request
    const span = { fromAt: beginOfMonth(from), toAt: beginOfMonth(addMonths(to, 1)) }
    for (const policy of new Set(batches.flatMap((batch) => this.#policiesOf(batch))))
      await this.#holdSpan(policy, span)
  }

  /** Which would delete its rows: a policy may have another name by now. */
  #policiesOf({ policy, objects }: BatchWithObjects): readonly string[] {
    const relations = new Set(objects.map(({ relation }) => relation))
    const own = resolvePolicies(this.slice.context.config).filter((each) => relations.has(keyOf(each.relation)))
    return [...new Set([policy, ...own.map(({ name }) => name)])]
  }

  async #holdSpan(policy: string, span: { readonly fromAt: Date; readonly toAt: Date }): Promise<void> {
    const { context } = this.slice
    const { id, holdMs } = this.request
    const reason = `restore ${id}`
    const holds = await selectHolds(catalogIn(context.db, this.stateSchema), policy)
    const covers = (hold: (typeof holds)[number]) =>
      hold.reason === reason && hold.fromAt <= span.fromAt && hold.toAt >= span.toAt
    if (holds.some(covers)) return
    const until = endOfHold(context.clock.now(), holdMs, context.config.holdAfterRestore)
    const told = `until ${until.toISOString()}${holdMs === undefined ? ` (${formatPeriod(context.config.holdAfterRestore)})` : ''}`
    await context.act({ kind: 'hold', target: policy, reason: told }, async ({ db }) => {
      await insertHold(catalogIn(db, this.stateSchema), { policy, ...span, until, reason })
    })
  }

  /** @throws StoreError, and what a statement fails with that is not the fault of the rows */
  async batch(batch: BatchWithObjects): Promise<void> {
    if (this.#begun.has(batch.id)) return
    this.#begun.add(batch.id)
    const { slice } = this
    const moved: string[] = []
    let finished: boolean
    try {
      finished = await this.#objects(batch, moved)
    } catch (error) {
      // What went in so far is renamed in the catalog; what lags behind in the store is found by the next run.
      if (!this.#isRefusal(error)) throw error
      slice.report(refusal(batch, await this.#explained(batch, error)))
      finished = true
    }
    if (moved.length > 0) await finishMove(slice, batch.id, moved, this.owner)
    if (finished) this.#done.add(batch.id)
    slice.batches++
  }

  /** @returns false when time ran out in between */
  async #objects(batch: BatchWithObjects, moved: string[]): Promise<boolean> {
    const { slice } = this
    const { context } = slice
    const left = batch.objects.filter(({ restoredAt }) => restoredAt === undefined).filter(isVerified)
    const loaded: Loaded[] = []
    const targets = new Map<string, Target>()
    for (const { relation } of left) targets.set(relation, await this.#target(relation))
    for (const object of orderObjects(left, targets).filter(isVerified)) {
      const target = await this.#target(object.relation)
      loaded.push({ object, target, columns: this.#columns(object, target) })
    }
    if (context.dryRun) {
      for (const { object } of loaded) {
        const reason = `batch ${batch.id}: ${object.rowCount} rows of ${batch.month}`
        await context.act({ kind: 'restore-rows', target: object.relation, reason }, () => Promise.resolve())
      }
      return true
    }
    const store = await context.client('store')
    const own = new Set(batch.objects.map(({ relation }) => relation))
    for (const each of loaded) {
      const { object } = each
      if (moved.length > 0 && slice.mustStop) return false
      context.progress({ done: this.#done.size, unit: 'batches', current: `${object.relation} ${batch.month}` })
      const bytes = await readWhereverItLies(store, object, context.signal)
      await this.#bringReferenced(batch, each, bytes, own)
      await copyToRestored(slice, object, bytes)
      await this.#insert(batch, each, bytes)
      moved.push(object.name)
      this.#restored.add(object.name)
    }
    return true
  }

  #columns({ relation, columns }: ArchiveObject, target: Target): readonly RestoredColumn[] {
    const plan = planRestoredColumns(columns, target, this.request)
    const [problem] = plan.problems
    if (problem !== undefined) throw new RestoreRefused(problem.summary, problem.hint)
    if (plan.columns.length === 0) throw new RestoreRefused(`${relation} has none of the archived columns`, 'add them')
    return plan.columns
  }

  async #target(relation: string): Promise<Target> {
    if (!this.#targets.has(relation)) this.#targets.set(relation, await selectTarget(this.slice.context.db, relation))
    const target = this.#targets.get(relation)
    if (target !== undefined) return target
    throw new RestoreRefused(`there is no table ${relation} any more`, 'create it again; the manifest has its columns')
  }

  /** Rows that these point to and that are archived themselves come back first: a killmail is nothing without its battle. */
  async #bringReferenced(
    batch: BatchWithObjects,
    { object, target, columns }: Loaded,
    bytes: Uint8Array,
    own: ReadonlySet<string>,
  ): Promise<void> {
    const { context } = this.slice
    for (const key of target.foreignKeys.filter(({ references }) => !own.has(references))) {
      const missingNow = async (): Promise<MissingRows> => {
        const values = new Map<string, readonly string[]>()
        for await (const rows of decodeRows(bytes, namesOf(columns))) {
          for (const row of await selectMissingReferences(context.db, key, columns, rows))
            values.set(JSON.stringify(row), row)
        }
        return { key, values: [...values.values()] }
      }
      let missing = await missingNow()
      if (missing.values.length === 0) continue
      for await (const holder of findHolders(this.slice, this.stateSchema, batch.month, missing)) {
        if (this.#begun.has(holder.id)) continue
        const { firstAt, lastAt } = holder
        // The catalog's times are cut to milliseconds.
        if (firstAt !== undefined && lastAt !== undefined) {
          const span = { fromAt: firstAt, toAt: new Date(lastAt.getTime() + 1) }
          for (const policy of this.#policiesOf(holder)) await this.#holdSpan(policy, span)
        }
        await this.batch(holder)
      }
      missing = await missingNow()
      const [example] = missing.values
      if (example === undefined) continue
      throw new RestoreRefused(
        `${object.relation}: rows point to ${missing.values.length} rows of ${key.references} that are neither in the database ` +
          `nor in the archive of the months around (${key.name}), such as (${example.join(', ')})`,
        'bring those rows back first, or restore into a database without that foreign key; nothing is set to NULL',
      )
    }
  }

  /** All rows of an object or none, and with them its new name. */
  async #insert(batch: BatchWithObjects, { object, target, columns }: Loaded, bytes: Uint8Array): Promise<void> {
    const { context } = this.slice
    const reason = `batch ${batch.id}: ${object.rowCount} rows of ${batch.month}`
    await context.act({ kind: 'restore-rows', target: object.relation, reason }, async (fenced) => {
      const { db } = fenced
      // The object is removed from `data/` right after.
      await keepCommit(db)
      await pinTextInput(db)
      const { inserted, different } = await insertAll(fenced, target, columns, bytes)
      const catalog = catalogIn(db, this.stateSchema)
      await markRestored(catalog, batch.id, [{ from: object.name, to: movedName(object.name) }])
      // Until the manifest in the store has the new name, whoever cleans up writes it again.
      await updateStoredState(catalog, [batch.id], 'verified')
      const alreadyThere = object.rowCount - inserted
      const attributes = { relation: object.relation }
      context.metrics.count('restored_rows', inserted, attributes)
      context.metrics.count('rows_already_there', alreadyThere, attributes)
      if (different > 0) this.#reportDifferent(object.relation, different)
      return { rows: inserted, bytes: object.sizeBytes, details: { alreadyThere, different } }
    })
  }

  #reportDifferent(relation: string, different: number): void {
    this.slice.report({
      key: `restore-different-${relation}`.slice(0, 200),
      severity: 'warning',
      summary: `${different} rows of ${relation} were in the database already and say something else than the archive; they were left as they are`,
      details: { hint: 'the archived versions are in the objects under restored/' },
    })
  }

  /** What is said of rows that no partition takes: which one would. PostgreSQL names no constraint then, as it does for a CHECK. */
  async #explained(batch: BatchWithObjects, error: unknown): Promise<unknown> {
    const { constraint } = error as { readonly constraint?: string }
    if (codeOf(error) !== '23514' || constraint !== undefined) return error
    const known = await selectCreateStatement(this.slice.context.db, this.stateSchema, batch.id)
    const hint = `make room first, then restore again: ${known ?? createMonthStatement(batch)}`
    return Object.assign(error as Error, { hint })
  }

  /** The rows, the schema or the object are at fault, not the circumstances: the other batches can come back all the same. */
  #isRefusal(error: unknown): boolean {
    const code = codeOf(error)
    if (code === 'restore-refused' || code === 'archive-mismatch' || code === 'store-not-found') return true
    return /^(23|22|P0|44|27|0A)...$/.test(code) || refusedStates.has(code)
  }
}

async function insertAll(
  { db }: Fenced<unknown, Cursor>,
  target: Target,
  columns: readonly RestoredColumn[],
  bytes: Uint8Array,
): Promise<{ readonly inserted: number; readonly different: number }> {
  let inserted = 0
  let different = 0
  for await (const rows of decodeRows(bytes, namesOf(columns))) {
    for (const column of columns.filter(({ archivedAs }) => archivedAs !== undefined)) {
      const unfaithful = await countUnfaithful(db, column, rows)
      if (unfaithful === 0) continue
      throw new RestoreRefused(
        `${target.name}.${column.name} was ${column.archivedAs ?? ''} and is ${column.typeName}: ${unfaithful} values would not survive it`,
        'change the type back, or restore into a table with the old type and convert from there',
      )
    }
    inserted += await insertRows(db, target, columns, rows)
    const compared = await compareRows(db, target, columns, rows)
    if (compared.missing + compared.changed > 0) {
      throw new RestoreRefused(
        `a trigger or rule of ${target.name} changes or swallows rows on their way in: ${compared.missing} missing, ${compared.changed} changed`,
        `disable it for the time of the restore: ALTER TABLE ${target.name} DISABLE TRIGGER …`,
      )
    }
    different += compared.different
  }
  return { inserted, different }
}

function namesOf(columns: readonly RestoredColumn[]): readonly string[] {
  return columns.map(({ name }) => name)
}

function refusal(batch: BatchWithObjects, error: unknown) {
  const { hint, detail, constraint } = error as {
    readonly hint?: string
    readonly detail?: string
    readonly constraint?: string
  }
  const text = error instanceof Error ? error.message : String(error)
  return {
    key: `restore-refused-${batch.id}`,
    severity: 'error' as const,
    summary: `batch ${batch.id} of ${batch.relation} ${batch.month} is not (wholly) restored: ${text}`,
    details: {
      batchId: batch.id,
      code: codeOf(error),
      ...(detail === undefined ? {} : { detail }),
      ...(constraint === undefined ? {} : { constraint }),
      ...(hint === undefined ? {} : { hint }),
    },
  }
}
