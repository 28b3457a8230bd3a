/** What commands do with dumps, apart from the task: a run in which no backup is due loads none of it. */
export { checkDump } from './check-dump.js'
export { listDumps, type DumpListing, type ListedDump } from './list-dumps.js'
export type { DumpManifest } from './manifest.js'
export { openPrograms, readingPrograms, type OpenProgramsOptions } from './open-programs.js'
export { restoreDump, restoreProblems, selectTarget, type RestoreFlags, type TargetFacts } from './restore-dump.js'
export { selectBackups } from './queries.js'
export { tablesIn, type BackupRecord } from './tables.js'
