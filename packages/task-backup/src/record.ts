/** What this task writes into its own table: each an action, in one transaction under the fence. */
import type { BackupContext } from './driver.js'
import { deleteForgotten, insertBackup, updateBackup, type BackupChange } from './queries.js'
import { tablesIn, type BackupRecord } from './tables.js'

type Announced = Parameters<typeof insertBackup>[1]

/** What ended longer ago is forgotten: a year and a month. */
const historyMs = 400 * 86_400_000

/** Before anything is begun, so that a run that is killed leaves something to go on from. With it goes what is too old to be told. */
export async function announce(context: BackupContext, backup: Announced, reason: string): Promise<void> {
  const before = new Date(context.clock.now().getTime() - historyMs)
  await context.act({ kind: 'announce-backup', target: tableOf(context), reason }, async ({ db }) => {
    const tables = tablesIn(db, schemaOf(context))
    const forgotten = await deleteForgotten(tables, before)
    return { rows: await insertBackup(tables, backup), details: { name: backup.name, forgotten } }
  })
}

export async function record(context: BackupContext, name: string, change: BackupChange): Promise<void> {
  const reason = change.state === undefined ? name : `${name}: ${change.state}`
  await context.act({ kind: 'record-backup', target: tableOf(context), reason }, async ({ db }) => ({
    rows: await updateBackup(tablesIn(db, schemaOf(context)), name, storable(change)),
    details: { name, ...(change.state === undefined ? {} : { state: change.state }) },
  }))
}

/** PostgreSQL refuses NUL in text, and what others say may have it: then how a backup ended would never be recorded. */
function storable({ message, location, checksum, ...change }: BackupChange): BackupChange {
  const text = (said: string | undefined) => said?.replaceAll('\0', '\ufffd')
  return { ...change, message: text(message), location: text(location), checksum: text(checksum) }
}

function tableOf({ stateSchema }: BackupContext): string {
  return `${stateSchema ?? 'scheduler'}.backup`
}

/** Inside `act` there is one: only a dry run can be before the first migration. */
function schemaOf({ stateSchema }: BackupContext): string {
  return stateSchema ?? 'scheduler'
}

/** The row that was just announced, as it is in the table. */
export function announced(backup: Announced, now: Date): BackupRecord {
  return {
    startedAt: undefined,
    databaseBytes: undefined,
    location: undefined,
    objectName: undefined,
    database: undefined,
    ...backup,
    announcedAt: now,
    finishedAt: undefined,
    sizeBytes: undefined,
    checksum: undefined,
    message: undefined,
  }
}
