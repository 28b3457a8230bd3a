import type { Part } from '../stage.js'
import { backup } from './backup.js'
import { coldStorage } from './cold-storage.js'
import { firstRun } from './first-run.js'
import { health } from './health.js'
import { newKillmails } from './new-killmails.js'
import { ownSchema } from './own-schema.js'
import { records } from './records.js'
import { report } from './report.js'
import { rollups } from './rollups.js'
import { secondRun } from './second-run.js'

/** The show, in order. */
export const parts: readonly Part[] = [
  ownSchema,
  firstRun,
  secondRun,
  newKillmails,
  rollups,
  coldStorage,
  backup,
  health,
  records,
  report,
]
