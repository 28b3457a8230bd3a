/** The scheduler's own schema: there, of our version, and ours to use. */
import type { DatabaseConnections, ServerFacts } from '@battlescope/database'
import { refuseNewer, schemaVersion, StateStore, type State } from '@battlescope/scheduler-core'
import { selectStateGrants, stateDenial } from '../state-grants.js'
import type { Check } from './check.js'

export async function schemaCheck(
  connections: DatabaseConnections,
  schema: string,
  { currentUser }: ServerFacts,
): Promise<{ readonly check: Check; readonly state: State | undefined }> {
  const check = `schema ${schema}`
  const grants = await selectStateGrants(connections, schema)
  const denial = stateDenial(grants, schema, currentUser)
  if (denial !== undefined) {
    return {
      check: { check, result: 'fail', detail: `${currentUser} ${denial.detail}`, mend: denial.mend },
      state: undefined,
    }
  }
  const state = await new StateStore(connections, schema).readState()
  const says = (result: Check['result'], detail: string, mend?: string) => ({
    check: { check, result, detail, ...(mend === undefined ? {} : { mend }) },
    state,
  })
  if (state.schemaVersion === undefined) return says('ok', 'does not exist yet; the first run makes it')
  try {
    refuseNewer(state.schemaVersion, schema)
  } catch (error) {
    return says('fail', (error as Error).message, 'use the version of the scheduler that made it, or a newer one')
  }
  if (state.schemaVersion === schemaVersion) return says('ok', `version ${schemaVersion}`)
  const update = `version ${state.schemaVersion}; the next run updates it to ${schemaVersion}`
  if (grants.mayCreate && grants.tables.every(({ owned }) => owned)) return says('ok', update)
  return says(
    'fail',
    `version ${state.schemaVersion} must be updated to ${schemaVersion}, which ${currentUser} may not`,
    'run `migrate` once as the role that owns the schema and its tables',
  )
}
