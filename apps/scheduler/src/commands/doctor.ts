/** `doctor`: can it work here, and what mends it when not. */
import type { Kysely } from 'kysely'
import { exitCodes, SchedulerError } from '@battlescope/scheduler-core'
import { loadConfiguration, type Configuration } from '../configuration/load.js'
import { explain, open } from '../connect.js'
import type { Check } from '../doctor/check.js'
import { clientChecks } from '../doctor/client-checks.js'
import { clockCheck, connectionCheck, serverCheck, sessionChecks } from '../doctor/connection-checks.js'
import { foreignKeyChecks } from '../doctor/foreign-key-checks.js'
import { grantChecks, selectRelationGrants } from '../doctor/grant-checks.js'
import { schemaCheck } from '../doctor/schema-check.js'
import type { Host } from '../host.js'
import { Output } from '../output.js'
import { loadRegistry } from '../third-party/look.js'
import type { InspectOptions } from './inspect.js'

const statementTimeoutMs = 10_000

export async function doctor(host: Host, options: InspectOptions): Promise<number> {
  host.endAtSignal()
  const configuration = await loadConfiguration(host, options.flags)
  const output = new Output(host)
  const { checks, connected } = await examine(host, configuration)
  if (options.json === true) output.json(checks)
  else {
    output.table(
      ['check', 'result', 'detail'],
      checks.map(({ check, result, detail }) => [
        check,
        output.paint(result, result === 'ok' ? 'green' : result === 'warn' ? 'yellow' : 'red'),
        detail,
      ]),
    )
    for (const { check, mend } of checks) if (mend !== undefined) output.line(`${output.paint(check, 'cyan')}: ${mend}`)
  }
  if (!connected) return exitCodes.unavailable.code
  return checks.some(({ result }) => result === 'fail') ? exitCodes.configuration.code : exitCodes.ok.code
}

async function examine(
  host: Host,
  configuration: Configuration,
): Promise<{ checks: readonly Check[]; connected: boolean }> {
  const { program } = configuration
  const connections = open(program)
  try {
    const facts = await connections.probe()
    const schema = await schemaCheck(connections, program.schema, facts)
    const { tasks, disabled } = await loadRegistry(host, configuration, schema.state)
    const db = connections.reader({ statementTimeoutMs }) as Kysely<unknown>
    const relations = await selectRelationGrants(db, facts)
    const checks: Check[] = [
      connectionCheck(facts),
      serverCheck(facts),
      ...(await sessionChecks(program, connections, facts, tasks)),
      clockCheck(facts),
      schema.check,
      ...tasks.flatMap((entry) => grantChecks(entry, relations, facts)),
      ...disabled.map(disabledCheck),
      ...clientChecks(tasks, configuration),
      ...(await foreignKeyChecks(db)),
    ]
    return { checks, connected: true }
  } catch (error) {
    const known = explain(error)
    if (!(known instanceof SchedulerError) || known.code !== 'database-unavailable') throw known
    const mend = known.hint === undefined ? {} : { mend: known.hint }
    return { checks: [{ check: 'connection', result: 'fail', detail: known.message, ...mend }], connected: false }
  } finally {
    await connections.close()
  }
}

function disabledCheck({ name, reason, hint }: { name: string; reason: string; hint?: string }): Check {
  return { check: `task ${name}`, result: 'fail', detail: reason, ...(hint === undefined ? {} : { mend: hint }) }
}
