/** The ways to tell the service. Each is one action, and all carry the same payload. */
import { parseRelationName } from '@battlescope/database'
import { codeOf, type HttpClient, type TaskContext } from '@battlescope/scheduler-core'
import { judge, pauseBeforeRetry, type Answer, type Judgement } from './answer.js'
import type { ClusterConfig } from './config.js'
import type { ClusterPlan, Cursor } from './plan.js'
import { insertJob, notify, type ClusterTables } from './queries.js'
import { parseRetryAfter } from './retry-after.js'

export type ClusterContext = TaskContext<ClusterConfig, ClusterTables, Cursor>
type Trigger = Extract<ClusterPlan, { kind: 'trigger' }>

const accepted: Judgement = { verdict: 'accepted', retryable: false, code: 'accepted', summary: 'accepted' }
const stopped: Judgement = { verdict: 'stopped', retryable: false, code: 'stopped', summary: 'the run is to end' }

/** Milliseconds after which a pause looks whether the run is to end. */
const pauseSliceMs = 250

/** The service did not take the trigger: thrown, so that no action is recorded as done. */
export class NotTriggered extends Error {
  override readonly name = 'NotTriggered'
  readonly code: string
  readonly judgement: Judgement
  constructor(judgement: Judgement, attempts: number) {
    super(attempts === 1 ? judgement.summary : `${judgement.summary}; ${attempts} attempts`)
    this.code = judgement.code
    this.judgement = judgement
  }
}

/**
 * What the service said; undefined in a dry run.
 * @throws NotTriggered when it refused, and a human should know
 */
export async function trigger(context: ClusterContext, planned: Trigger): Promise<Judgement | undefined> {
  const { action, payload } = planned
  switch (context.config.trigger) {
    case 'none':
      return undefined
    case 'notify':
      return context.act(action, async ({ db }) => {
        await notify(db, context.config.channel, payload)
        return { ...accepted, bytes: Buffer.byteLength(payload) }
      })
    case 'job-table':
      return context.act(action, async ({ db }) => {
        const job = { slotId: context.slot.id, requestedAt: context.clock.now(), payload }
        return { ...accepted, rows: await insertJob(db, parseRelationName(context.config.jobRelation), job) }
      })
    case 'http':
      return post(context, planned)
  }
}

async function post(context: ClusterContext, { action, payload }: Trigger): Promise<Judgement | undefined> {
  try {
    return await context.act({ ...action, via: 'http' }, async (client) => {
      const { judgement, attempts } = await ask(context, client, payload)
      const taken = judgement.verdict === 'accepted' || judgement.verdict === 'running'
      if (!taken) throw new NotTriggered(judgement, attempts)
      return { ...judgement, details: { answer: judgement.code, attempts } }
    })
  } catch (error) {
    if (error instanceof NotTriggered && error.judgement.verdict !== 'refused') return error.judgement
    throw error
  }
}

/** Asks until an answer is final. Asking twice is harmless: the key tells the service that it is the same trigger. */
async function ask(context: ClusterContext, client: HttpClient, payload: string) {
  const { budget, config, logger } = context
  for (let attempts = 1; ; attempts += 1) {
    const answer = await postOnce(context, client, payload)
    const judgement = judge(answer)
    const pauseMs = pauseBeforeRetry({ answer, number: attempts, remainingMs: budget.remainingMs() }, config)
    if (pauseMs === undefined) return { judgement, attempts }
    logger.debug({ event: 'trigger-retry', code: judgement.code, attempts, pauseMs }, 'trigger is tried again')
    await pause(context, pauseMs)
    if (budget.exhausted()) return { judgement: stopped, attempts }
  }
}

async function postOnce(context: ClusterContext, client: HttpClient, body: string): Promise<Answer> {
  const { budget, config, clock, signal } = context
  const timeoutMs = Math.max(1, Math.ceil(Math.min(config.requestTimeout, budget.remainingMs())))
  try {
    const { status, headers } = await client.post({
      url: config.url ?? '',
      headers: headersOf(context),
      body,
      timeoutMs,
      signal,
    })
    return { status, retryAfterMs: parseRetryAfter(headers['retry-after'], clock.now()) }
  } catch (error) {
    // The run is over; nobody may take that for an answer.
    signal.throwIfAborted()
    return { errorCode: codeOf(error) ?? 'http-failed' }
  }
}

function headersOf({ config, slot, traceparent }: ClusterContext): Readonly<Record<string, string>> {
  return {
    'content-type': 'application/json',
    'idempotency-key': slot.id,
    ...(config.token === undefined ? {} : { authorization: `Bearer ${config.token}` }),
    ...(traceparent === undefined ? {} : { traceparent }),
  }
}

/** In slices: a stop of the run must not wait for what a service asked for. */
async function pause({ budget, clock }: ClusterContext, ms: number): Promise<void> {
  const endsAt = clock.monotonicMs() + ms
  for (let left = ms; left > 0 && !budget.exhausted(); left = endsAt - clock.monotonicMs()) {
    await clock.sleep(Math.min(left, pauseSliceMs))
  }
}
