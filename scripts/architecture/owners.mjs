/**
 * The files that own what everything else gets handed in: the wall clock and the environment. The one list, read by the architecture
 * test and by ESLint. Paths are relative to the repository; a path that ends in `/` owns the folder.
 */

/** May call `Date.now()` and `new Date()` without argument. @type {string[]} */
export const clockOwners = [
  // Holds this machine's clock against the database's.
  'packages/database/src/probe.ts',
  // Hands it to what has no database to ask: an alert that the database is down.
  'apps/scheduler/src/host.ts',
  // Tells a task what this machine takes for the time, to be held against the database's.
  'packages/scheduler-core/src/execute/clock.ts',
  // Stands in for a service, which has a clock of its own.
  'packages/cold-storage/src/strict-s3.ts',
]

/** May read `process.env`. @type {string[]} */
export const environmentOwners = [
  'packages/postgres-testing/src/environment.ts',
  'apps/demo/src/environment.ts',
  'apps/scheduler/src/host.ts',
  // The loader: which options Node itself was given decides before there is anything to hand them to.
  'apps/scheduler/bin/code-cache.js',
  'apps/scheduler/bin/short-run.js',
]
