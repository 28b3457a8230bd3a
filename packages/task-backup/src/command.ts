/** The driver `command`: runs a backup tool to its end, within this run. Its log is kept. */
import { codeOf, messageOf } from '@battlescope/scheduler-core'
import type { BackupContext } from './driver.js'
import { logPrefix } from './names.js'
import { announce, record } from './record.js'

export interface CommandRequest {
  readonly name: string
  readonly attempt: number
  readonly reason: string
  readonly databaseBytes: number
}

/** Of a log, in the table and in messages; the whole of it is in the store, where there is one. */
const tailCharacters = 4000
const messageCharacters = 300

export async function takeByCommand(context: BackupContext, request: CommandRequest): Promise<void> {
  const { config, slot, clock, signal } = context
  const { name, attempt, databaseBytes } = request
  const [program = '', ...args] = config.command.map((part) => part.replaceAll('{name}', name))
  const startedAt = clock.now()
  await announce(
    context,
    { name, slotId: slot.id, attempt, driver: 'command', state: 'running', startedAt, databaseBytes },
    request.reason,
  )
  let log = ''
  let failure: string | undefined
  await context.act({ kind: 'run-command', target: program, reason: name, via: 'program' }, async (programs) => {
    const exited = await programs.run({
      program,
      args,
      timeoutMs: config.commandTimeout,
      environment: config.commandEnvironment,
      withConnection: config.commandConnection,
      signal,
    })
    log = exited.log
    failure = failureOf(program, exited)
    return { details: { exitCode: exited.exitCode ?? exited.signal, logBytes: Buffer.byteLength(log) } }
  })
  const location = await tryToKeepLog(context, name, log)
  await record(context, name, {
    state: failure === undefined ? 'succeeded' : 'failed',
    finishedAt: clock.now(),
    message: failure === undefined ? undefined : `${failure}: ${lastLine(log)}`,
    logTail: log === '' ? undefined : log.slice(-tailCharacters),
    location,
  })
}

function failureOf(
  program: string,
  {
    exitCode,
    signal,
    timedOut,
  }: { readonly exitCode: number | undefined; readonly signal: string | undefined; readonly timedOut: boolean },
): string | undefined {
  if (timedOut) return `${program} was ended after backup.commandTimeout`
  if (exitCode === 0) return undefined
  return exitCode === undefined
    ? `${program} was ended by ${signal ?? 'a signal'}`
    : `${program} ended with ${exitCode}`
}

/** How the backup ended is known by now. That its log could not be stored changes nothing of it: its end is in the table. */
async function tryToKeepLog(context: BackupContext, name: string, log: string): Promise<string | undefined> {
  try {
    return await keepLog(context, name, log)
  } catch (error) {
    context.signal.throwIfAborted()
    if (codeOf(error) === 'lost-claim') throw error
    const fields = { event: 'backup-log-lost', name, code: codeOf(error), error: messageOf(error) }
    context.logger.warn(fields, 'the log of the backup could not be stored')
    return undefined
  }
}

/** @returns where it is; undefined without a store, or without a log */
async function keepLog(context: BackupContext, name: string, log: string): Promise<string | undefined> {
  if (!context.hasClient('store') || (log === '' && !context.dryRun)) return undefined
  const object = `${logPrefix}${name}.log`
  const { location } = await context.client('store')
  await context.act({ kind: 'write-log', target: location, reason: name, via: 'store' }, async (store) => {
    const bytes = Buffer.from(log)
    await store.put(object, bytes, { signal: context.signal })
    return { bytes: bytes.byteLength, details: { object } }
  })
  return `${location}/${object}`
}

function lastLine(log: string): string {
  return (log.trimEnd().split('\n').at(-1) ?? '').slice(-messageCharacters) || 'it said nothing'
}
