/** `run`: what is due. */
import type { StatementReport } from '@battlescope/database'
import {
  exitCodes,
  formatDuration,
  runScheduler,
  SchedulerError,
  didYouMean,
  type RunReport,
  type Severity,
  type TaskLogger,
} from '@battlescope/scheduler-core'
import { alertInput, tellOfOutage } from '../alerts/alert-input.js'
import { clientFactories, surroundingsOf } from '../clients/client-factories.js'
import { loadConfiguration, type Configuration } from '../configuration/load.js'
import { explain, withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { createLogging } from '../logging/logging.js'
import { Output, outcomeColour } from '../output.js'
import { catchStrayErrors, type StrayErrors } from '../stray-errors.js'
import { wantedTelemetry } from '../telemetry/wanted.js'
import type { StartedTelemetry } from '../telemetry/started-telemetry.js'
import { endProcess } from '../third-party/guard.js'
import type { GuardedPackages } from '../third-party/packages.js'
import { version } from '../version.js'

/** Milliseconds for telemetry to leave, and for everything else after the work is done. */
const flushCapMs = 5000
/** Milliseconds beyond budget and grace until the watchdog of third-party packages ends the process; the rest of the five seconds is for the flush. */
const watchdogMarginMs = 3000

export interface RunCommandOptions {
  readonly task?: readonly string[]
  readonly force?: boolean
  readonly dryRun?: boolean
  readonly failOn?: Severity
  readonly json?: boolean
  readonly flags?: Readonly<Record<string, string>>
  /** Prints the report instead of leaving it to the logs: for `plan`. */
  readonly present?: (report: RunReport, output: Output) => void
}

export async function run(host: Host, options: RunCommandOptions): Promise<number> {
  const output = new Output(host)
  const telemetry = wantedTelemetry(host.environment) === undefined ? undefined : await startTelemetry(host)
  const dataOnStdout = options.json === true || options.present !== undefined
  let endLastResort: () => void = () => undefined
  try {
    const configuration = await loadConfiguration(host, options.flags, { options: 'enabled' })
    const { program } = configuration
    endLastResort = endProcessAfter(program.budget + program.grace + flushCapMs)
    const logging = createLogging({
      level: options.present !== undefined && program.logLevel === 'info' ? 'warn' : program.logLevel,
      stream: dataOnStdout ? 'stderr' : 'stdout',
      terminal: host.terminal,
      scrub: scrubOf(host),
      ...(telemetry === undefined ? {} : { traceFields: () => telemetry.traceFields() }),
    })
    try {
      const report = await runConnected(
        host,
        options,
        configuration,
        (fields) => logging.bind(fields),
        logging.logger,
        telemetry,
      )
      logging.end()
      if (options.json === true) output.json(report)
      else if (options.present !== undefined) options.present(report, output)
      else if (host.terminal.stdoutIsTerminal) presentRun(report, output)
      if (dataOnStdout || !host.terminal.stdoutIsTerminal) logReport(logging.logger, report)
      return report.exitCode
    } catch (error) {
      const known = explain(error)
      if (known instanceof SchedulerError && known.exitCode === exitCodes.unavailable.code && options.dryRun !== true)
        await tellOfOutage(host, configuration, logging.logger, {
          reason: known.message,
          // The other half is for telemetry.
          remainingMs: () => Math.max(0, program.budget + program.grace + flushCapMs / 2 - performance.now()),
        })
      if (!(known instanceof SchedulerError) || host.terminal.stdoutIsTerminal || dataOnStdout) throw known
      logging.logger.error(
        { event: 'run-failed', errorCode: known.code, hint: known.hint, exitCode: known.exitCode },
        known.message,
      )
      return known.exitCode
    }
  } finally {
    await telemetry?.shutdown(flushCapMs)
    endLastResort()
  }
}

async function runConnected(
  host: Host,
  options: RunCommandOptions,
  configuration: Configuration,
  bind: (fields: Readonly<Record<string, unknown>>) => TaskLogger,
  logger: TaskLogger,
  telemetry: StartedTelemetry | undefined,
): Promise<RunReport> {
  const { program, builtIn } = configuration
  refuseUnknownTasks(options.task, configuration)
  const onStatement =
    telemetry === undefined
      ? undefined
      : (report: StatementReport) => {
          if (report.durationMs >= program.slowStatement) telemetry.recordStatement(report)
        }
  return withDatabase(
    program,
    async ({ connections }) => {
      const strayErrors = catchStrayErrors(logger, host.appFolder)
      const thirdParty = await packagesOf(host, configuration, strayErrors)
      return runScheduler({
        connections,
        schema: program.schema,
        builtIn,
        ...(thirdParty === undefined ? {} : { thirdParty }),
        clients: clientFactories(configuration, surroundingsOf(host)),
        scrub: scrubOf(host),
        logger,
        loggerFor: (fields) => {
          ;(thirdParty ?? strayErrors).watching(fields.task)
          return bind(fields)
        },
        ...(telemetry === undefined ? {} : { telemetry: telemetry.telemetry }),
        version,
        holder: host.holder,
        ...(options.task === undefined ? {} : { only: options.task }),
        ...(options.force === undefined ? {} : { force: options.force }),
        ...(options.dryRun === undefined ? {} : { dryRun: options.dryRun }),
        ...(options.failOn === undefined ? {} : { failOn: options.failOn }),
        alerts: await alertInput(host, configuration),
        expectedIntervalMs: program.expectedInterval,
        budgetMs: program.budget,
        graceMs: program.grace,
        // The budget counts from the start of the process, so that it bounds what the CronJob sees.
        startedAtMs: 0,
        stop: host.stop,
        hardStop: host.hardStop,
        retention: { historyMs: program.historyRetention, actionsMs: program.actionRetention },
      })
    },
    onStatement === undefined ? {} : { onStatement },
  )
}

/** @returns undefined when no package is enabled: then nothing of them is even read. */
async function packagesOf(
  host: Host,
  configuration: Configuration,
  strayErrors: StrayErrors,
): Promise<GuardedPackages | undefined> {
  if (configuration.thirdParty.length === 0) return undefined
  const { program } = configuration
  const { thirdPartyPackages } = await import('../third-party/packages.js')
  return thirdPartyPackages(host, configuration, strayErrors, {
    importsEndAtMs: program.budget,
    processEndsAtMs: program.budget + program.grace + watchdogMarginMs,
    lastWords: 'log',
  })
}

function scrubOf({ secrets }: Host): (text: string) => string {
  return (text) => secrets.scrub(text)
}

/** Names of third-party tasks are known only once they are loaded: the pipeline looks again then. */
function refuseUnknownTasks(asked: readonly string[] | undefined, { builtIn, thirdParty }: Configuration): void {
  if (thirdParty.length > 0) return
  const enabled = builtIn.tasks.map(({ name }) => name)
  const unknown = asked?.find((name) => !enabled.includes(name))
  if (unknown === undefined) return
  throw new SchedulerError('unknown-task', `--task: '${unknown}' is not enabled`, {
    hint: didYouMean(unknown, enabled) ?? `enabled: ${enabled.join(', ')} (SCHEDULER_TASKS)`,
  })
}

async function startTelemetry(host: Host): Promise<StartedTelemetry | undefined> {
  const { startTelemetry: start } = await import('../telemetry/start.js')
  return start({ environment: host.environment, serviceVersion: version, scrub: scrubOf(host) })
}

function logReport(logger: TaskLogger, report: RunReport): void {
  const outcomes: Record<string, string> = {}
  for (const { name, run: taskRun, code } of report.tasks) outcomes[name] = taskRun?.outcome ?? code ?? 'not-run'
  for (const { name } of report.disabled) outcomes[name] = 'disabled'
  const fields = {
    event: 'run-ended',
    runId: report.runId,
    exitCode: report.exitCode,
    durationMs: Math.round(report.durationMs),
    outcomes,
    dryRun: report.dryRun || undefined,
  }
  logger.info(fields, 'run ended')
}

/** The table at the end of a run on a terminal; elsewhere the log has it. */
function presentRun(report: RunReport, output: Output): void {
  output.line()
  output.table(
    ['task', 'outcome', 'actions', 'took', 'why'],
    [
      ...report.tasks.map(({ name, run: taskRun, reason }) =>
        taskRun === undefined
          ? [name, output.paint('not run', 'dim'), '–', '–', reason]
          : [
              name,
              output.paint(taskRun.outcome, outcomeColour(taskRun.outcome)),
              String(taskRun.actions.length),
              formatDuration(Math.max(1, Math.round(taskRun.durationMs))),
              taskRun.reason ?? reason,
            ],
      ),
      ...report.disabled.map(({ name, reason, hint }) => [
        name,
        output.paint('disabled', 'red'),
        '–',
        '–',
        [reason, hint].filter(Boolean).join('; '),
      ]),
    ],
  )
}

/** Promise: the process is gone, whatever hangs. Not unref'd, so that a hang with nothing left to wait for ends here too. */
function endProcessAfter(ms: number): () => void {
  const timer = setTimeout(
    () => {
      process.stderr.write(
        `${JSON.stringify({ level: 'error', event: 'last-resort', msg: 'the run did not end in time' })}\n`,
      )
      endProcess(exitCodes.taskFailed.code)
    },
    Math.max(0, ms - performance.now()),
  )
  return () => {
    clearTimeout(timer)
  }
}
