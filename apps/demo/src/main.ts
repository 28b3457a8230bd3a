/** `npm run demo`. The only place that ends the process. */
import { runCommand } from './command.js'
import { parts } from './parts/index.js'
import { findSchedulerProgram } from './scheduler-program.js'

process.exit(await runCommand(process.argv.slice(2), { findProgram: findSchedulerProgram, parts }))
