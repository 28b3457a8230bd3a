/** The partitions of one policy in one run: what earlier runs detached first, then one expired partition after the other. */
import { randomUUID } from 'node:crypto'
import { codeOf } from './batch-errors.js'
import { DetachedPartition } from './detached-partition.js'
import { isDeletable, type Expiry } from './expiry.js'
import type { PartitionContent, PartitionFacts, PartitionRecord } from './partition-facts.js'
import { foreignPendingFinding, rowByRowFinding, waitingFinding } from './partition-findings.js'
import { detachConcurrently, selectContent, selectPartitioned } from './partition-queries.js'
import { confirmDetached, finalize, isRefusal, isStoreOurs, mayPass } from './partition-recovery.js'
import { deletePartitionRecord, selectPartitionRecords, updateSession, upsertAnnounced } from './partition-records.js'
import {
  forecastPartition,
  isOurs,
  judgeContent,
  selectExpired,
  wasDetached,
  whyPartitionsStay,
  whyRowByRow,
  whyRowsDiffer,
} from './plan-partitions.js'
import { keyOf, resolvePolicies, type Policy } from './policy.js'
import type { PreflightFacts } from './preflight-facts.js'
import { keepCommit } from './queries.js'
import type { Slice } from './slice.js'
import { Bystanders } from './stand-aside.js'

export interface PartitionsEnd {
  /** OIDs of partitions whose rows are not to be deleted one by one in this run. */
  readonly except: readonly string[]
  /** Partitions that are left for the next run of this slot. */
  readonly left: number
  /** Partitions that expired and stay for the rest of the slot. */
  readonly setAside: number
}

type DetachEnd =
  { readonly kind: 'detached' | 'pending' | 'locked' } | { readonly kind: 'refused'; readonly why: string }

export async function runPartitions(
  slice: Slice,
  facts: PreflightFacts,
  expiry: Expiry,
  horizon: Date,
): Promise<PartitionsEnd> {
  return new PartitionRun(slice, facts, expiry, horizon).run()
}

/** What {@link runPartitions} would do, as actions of a dry run. @returns OIDs of the partitions that would go */
export async function planPartitionWork(
  slice: Slice,
  facts: PreflightFacts,
  expiry: Expiry,
  horizon: Date,
): Promise<readonly string[]> {
  return new PartitionRun(slice, facts, expiry, horizon).plan()
}

class PartitionRun {
  readonly #slice: Slice
  readonly #facts: PreflightFacts
  readonly #expiry: Expiry
  readonly #horizon: Date
  readonly #bystanders: Bystanders
  /** Why rows go one by one. */
  readonly #reasons: string[] = []
  readonly #except = new Set<string>()
  #hasNoSession = false
  /**
   * Set once a partition is pending, or detached and not dropped: until that is over, no other one is detached. Whatever keeps it would
   * keep the next one, too, and what is detached nobody sees.
   */
  #inTheWay: 'left' | 'setAside' | undefined
  #left = 0
  #setAside = 0

  constructor(slice: Slice, facts: PreflightFacts, expiry: Expiry, horizon: Date) {
    this.#slice = slice
    this.#facts = facts
    this.#expiry = expiry
    this.#horizon = horizon
    this.#bystanders = new Bystanders(slice, [expiry.policy.relation])
  }

  async run(): Promise<PartitionsEnd> {
    await this.#finishDetached()
    for (const partition of await this.#expired()) {
      if (this.#inTheWay === undefined && (await this.#isTimeUp())) this.#inTheWay = 'left'
      if (this.#inTheWay !== undefined) this.#spare(partition, this.#inTheWay)
      else if (!this.#hasNoSession && (await this.#contentOf(partition)) !== undefined) await this.#take(partition)
    }
    this.#tell()
    return { except: [...this.#except], left: this.#left, setAside: this.#setAside }
  }

  async plan(): Promise<readonly string[]> {
    const { context } = this.#slice
    for (const record of await this.#ownRecords()) {
      if (record.place !== 'detached' || !isOurs(record)) continue
      await context.act({ kind: 'drop-partition', target: record.relation, reason: record.partition }, () =>
        Promise.resolve(),
      )
    }
    let rows = 0
    for (const partition of await this.#expired()) {
      if (this.#policy.archive && !(await isStoreOurs(this.#slice))) break
      const content = await this.#contentOf(partition, rows)
      if (content === undefined) continue
      this.#except.add(partition.oid)
      rows += content.rows
      const work = forecastPartition(this.#policy, partition, content)
      await context.act({ kind: 'detach-partition', via: 'direct', ...work }, () => Promise.resolve())
      if (this.#policy.archive) await context.act({ kind: 'archive', via: 'store', ...work }, () => Promise.resolve())
      await context.act({ kind: 'drop-partition', ...work }, () => Promise.resolve())
    }
    this.#tell()
    return [...this.#except]
  }

  get #policy(): Policy {
    return this.#expiry.policy
  }

  async #isTimeUp(): Promise<boolean> {
    const { mustStop, rowsLeft } = this.#slice
    return mustStop || rowsLeft === 0 || (await this.#bystanders.standAside()) !== undefined
  }

  /** It stays as it is for the rest of the run (`left`) or of the slot. */
  #spare({ oid }: Pick<PartitionFacts, 'oid'>, until: 'left' | 'setAside'): void {
    this.#except.add(oid)
    if (until === 'left') this.#left += 1
    else this.#setAside += 1
  }

  #tell(): void {
    if (this.#reasons.length > 0) this.#slice.report(rowByRowFinding(this.#policy, this.#reasons))
  }

  async #ownRecords(): Promise<readonly PartitionRecord[]> {
    const { context } = this.#slice
    if (context.stateSchema === undefined) return []
    const records = await selectPartitionRecords(context.db, context.stateSchema)
    return records.filter(({ policy }) => policy === this.#policy.name)
  }

  // ── detached by an earlier run ─────────────────────────────────────────────────────────────────────────────────

  async #finishDetached(): Promise<void> {
    for (const record of await this.#ownRecords()) {
      if (!isOurs(record)) continue
      // A finding says already what keeps a pending one.
      if (record.place === 'pending') this.#keep(record, this.#isOfThisSlot(record) ? 'left' : 'setAside')
      if (record.place === 'attached' && record.isSending) this.#keep(record, 'left')
      // Of one that was not noted yet, what is archived could not be forgotten in this run.
      const again = record.attachedAgainSlot ?? this.#slice.cursor.slotId
      if (record.place === 'attached' && wasDetached(record) && again === this.#slice.cursor.slotId)
        this.#spare(record, 'setAside')
      if (record.place === 'detached') await this.#finish(record)
    }
  }

  /** What earlier slots could not end must not keep this one from ending: the next one tries again. */
  #isOfThisSlot({ announcedAt }: PartitionRecord): boolean {
    return announcedAt.getTime() >= Date.parse(this.#slice.cursor.slotAt)
  }

  async #finish(record: PartitionRecord): Promise<void> {
    const slice = this.#slice
    const why = this.#whyNotFinished(record)
    if (why !== undefined) {
      slice.report(waitingFinding(record, why))
      this.#keep(record, 'setAside')
      return
    }
    if (await this.#isTimeUp()) {
      this.#keep(record, 'left')
      return
    }
    const end = await new DetachedPartition(slice, this.#expiry, this.#horizon, record).run()
    if (end !== 'dropped') this.#keep(record, end === 'stopped' ? 'left' : 'setAside')
  }

  /** The policy is not what it was when the partition was detached. */
  #whyNotFinished(record: PartitionRecord): string | undefined {
    const relation = keyOf(this.#policy.relation)
    if (record.relation !== relation) return `the policy ${record.policy} is about ${relation} by now`
    return whyRowsDiffer(this.#policy, resolvePolicies(this.#slice.context.config))
  }

  #keep(record: PartitionRecord, until: 'left' | 'setAside'): void {
    this.#spare(record, until)
    this.#inTheWay = until
  }

  // ── expired ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Partitions that may go as a whole, oldest first. Row by row goes what is not among them, with the reason. */
  async #expired(): Promise<readonly PartitionFacts[]> {
    const { context } = this.#slice
    const policy = this.#policy
    const facts = await selectPartitioned(context.db, policy)
    if (facts === undefined) return []
    const { whole, others } = selectExpired(facts, this.#horizon)
    if (whole.length + others.length === 0) return []
    const why = whyRowByRow(this.#facts, policy, resolvePolicies(context.config)) ?? whyPartitionsStay(policy, facts)
    if (why !== undefined) {
      this.#reasons.push(why)
      return []
    }
    this.#reasons.push(...others.map((other) => other.why))
    const ours = new Set((await this.#ownRecords()).filter(isOurs).map(({ oid }) => oid))
    const foreign = facts.partitions.find(({ isPending, oid }) => isPending && !ours.has(oid))
    if (foreign !== undefined) this.#slice.report(foreignPendingFinding(policy.relation, foreign.relation))
    // PostgreSQL has one pending detach per relation at a time.
    if (foreign !== undefined) this.#inTheWay ??= 'setAside'
    return whole.filter(({ oid }) => !this.#except.has(oid))
  }

  /** @returns undefined when the partition does not go as a whole in this run */
  async #contentOf(partition: PartitionFacts, taken = 0): Promise<PartitionContent | undefined> {
    const { context, rowsLeft } = this.#slice
    const { countLimit, maxRowsPerRun } = context.config
    const name = keyOf(partition.relation)
    let content: PartitionContent
    try {
      // The very statement that will compare it under lock: one that takes too long does so before anything was begun.
      content = await selectContent(context.reader({ statementTimeoutMs: countLimit }), partition.relation, {
        keyColumns: this.#expiry.keyColumns,
        mayGo: isDeletable(this.#expiry, 't'),
        hashed: this.#policy.archive,
      })
    } catch (error) {
      if (!(mayPass(error) || isRefusal(error)) || context.signal.aborted) throw error
      if (codeOf(error) === '57014') this.#reasons.push(`comparing ${name} takes longer than countLimit`)
      else if (mayPass(error)) this.#leaveLocked(partition)
      else this.#reasons.push(`${name} cannot be read: ${(error as Error).message}`)
      return undefined
    }
    const decision = judgeContent(name, content, { rowsLeft: rowsLeft - taken, maxRowsPerRun })
    if (decision.kind === 'rows') {
      this.#reasons.push(decision.why)
      return undefined
    }
    if (decision.kind === 'go') return content
    this.#spare(partition, 'left')
    return undefined
  }

  #leaveLocked(partition: PartitionFacts): void {
    this.#spare(partition, 'setAside')
    this.#slice.report({
      key: `locked-${this.#policy.name}`,
      severity: 'warning',
      summary: `${keyOf(partition.relation)} is locked by other sessions and left for later`,
    })
  }

  async #take(partition: PartitionFacts): Promise<void> {
    // What cannot be archived stays where it is seen.
    if (this.#policy.archive && !(await isStoreOurs(this.#slice))) {
      this.#spare(partition, 'left')
      this.#inTheWay = 'left'
      return
    }
    const end = await this.#detach(partition)
    if (end.kind === 'refused') {
      this.#reasons.push(end.why)
      return
    }
    if (end.kind === 'locked') {
      this.#leaveLocked(partition)
      return
    }
    const record = (await this.#ownRecords()).find(({ oid }) => oid === partition.oid)
    if (record?.place === 'detached') await this.#finish(record)
    else {
      this.#spare(partition, 'left')
      this.#inTheWay = 'left'
    }
  }

  /** The name is written down first: whatever ends this in between, the next run knows whose detach it is. */
  async #detach(partition: PartitionFacts): Promise<DetachEnd> {
    const { context } = this.#slice
    const schema = context.stateSchema ?? ''
    const policy = this.#policy
    const id = randomUUID()
    const [target, reason] = [keyOf(policy.relation), keyOf(partition.relation)]
    await context.act({ kind: 'announce-detach', target, reason }, async ({ db }) => {
      await keepCommit(db)
      const { oid, bounds } = partition
      const { name, archive } = policy
      await upsertAnnounced(db, schema, { id, policy: name, relation: target, partition: reason, oid, bounds, archive })
    })
    const find = async () => (await this.#ownRecords()).find(({ oid }) => oid === partition.oid)
    const { lockTimeout } = context.config
    try {
      await context.act(
        { kind: 'detach-partition', target, reason, lockTimeoutMs: lockTimeout, via: 'direct' },
        async ({ db }) => {
          if (!(await updateSession(db, schema, id))) throw new AnnouncementTaken()
          await detachConcurrently(db, policy.relation, partition.relation)
        },
      )
    } catch (error) {
      if (context.signal.aborted) throw error
      const record = await find()
      if (record?.place === 'pending') {
        return { kind: (await finalize(this.#slice, schema, record)) ? 'detached' : 'pending' }
      }
      // Still attached, and the statement is over: whoever detaches it later is somebody else.
      if (record?.place === 'attached' && isOver(error)) {
        await context.act({ kind: 'forget-partition', target, reason }, async ({ db }) => {
          await keepCommit(db)
          await deletePartitionRecord(db, schema, record)
        })
      }
      if (mayPass(error)) return { kind: 'locked' }
      this.#hasNoSession = codeOf(error) === 'no-direct-connection'
      if (isRefusal(error)) return { kind: 'refused', why: `${reason} cannot be detached: ${(error as Error).message}` }
      throw error
    }
    const record = await find()
    if (record !== undefined) await confirmDetached(this.#slice, schema, record)
    return { kind: 'detached' }
  }
}

/** A later run took the announcement back while this process was paused. */
class AnnouncementTaken extends Error {
  override readonly name = 'AnnouncementTaken'
  readonly code = 'announcement-taken'
  constructor() {
    super('the announcement of a detach was taken back by a later run')
  }
}

/** The server has answered, or was never asked. A connection that broke leaves it open whether the statement runs on. */
function isOver(error: unknown): boolean {
  const code = codeOf(error)
  if (code === 'no-direct-connection' || code === 'client-unavailable') return true
  return /^(?=.*\d)[0-9A-Z]{5}$/.test(code) && !code.startsWith('08')
}
