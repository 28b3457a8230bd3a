/** Whether this machine has what the driver pg-dump needs. */
import { spawnSync } from 'node:child_process'

const found = ['pg_dump', 'pg_restore'].every((program) => spawnSync(program, ['--version']).status === 0)

/** The end of a suite's name. Debian's tools are of 15, and dump servers up to their own version: the shared server is one. */
export const noClientTools = found ? '' : ' (skipped: pg_dump is not installed; apt-get install postgresql-client)'
