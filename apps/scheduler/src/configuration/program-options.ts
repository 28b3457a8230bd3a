/** The program's own options. Those of tasks are derived from their schemas. */
import { ConnectionStringError, parseConnectionString } from '@battlescope/database'
import { duration, type Section } from '@battlescope/scheduler-core'
import { z } from 'zod'

const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const

/** Checked with everything else, so that its problems are told beside those of other options. */
const connectionString = (env: string, description: string) =>
  z
    .string()
    .superRefine((text, context) => {
      try {
        parseConnectionString(text)
      } catch (error) {
        if (!(error instanceof ConnectionStringError)) throw error
        const form = 'a PostgreSQL connection string such as postgresql://user:password@host:5432/database'
        context.addIssue({ code: 'custom', message: `${form}; of this one: ${error.problems.join('; ')}` })
      }
    })
    .optional()
    // The problems of a connection string quote nothing that could be a part of the password.
    .meta({ description, env, secret: 'url', quotesNothing: true })

export const programOptions = z.object({
  databaseUrl: connectionString('DATABASE_URL', 'PostgreSQL connection string. Required for everything that connects.'),
  databaseDirectUrl: connectionString(
    'DATABASE_DIRECT_URL',
    'Session-capable connection for VACUUM, REINDEX, and partitions that retention detaches. Without it DATABASE_URL serves, if it proves to be direct.',
  ),
  logLevel: z
    .enum(logLevels)
    .default('info')
    .meta({ description: 'Least important level that is logged.', env: 'LOG_LEVEL' }),
  tasks: z
    .array(z.string())
    .default(['analyze'])
    .describe('Tasks to run. With @, / or the prefix npm: it is a package, otherwise the name of a built-in task.'),
  config: z.string().optional().meta({ description: 'Configuration file, YAML or JSON.', file: false }),
  budget: duration().prefault('40s').describe('Soft limit of one run, from the start of the process.'),
  grace: duration().prefault('10s').describe('Time to stop in after the budget, or after a signal.'),
  expectedInterval: duration()
    .prefault('5m')
    .describe('How often something starts the scheduler; for judging staleness.'),
  slowStatement: duration()
    .prefault('1s')
    .describe('A statement that takes as long gets a span of its own in traces, without its values.'),
  schema: z.string().min(1).max(63).default('scheduler').describe("Schema of the scheduler's own tables."),
  pluginDir: z.string().optional().describe('Folder whose node_modules holds third-party tasks.'),
  maxConnections: z
    .number()
    .int()
    // One for the task's transaction, one that keeps its claim meanwhile.
    .min(2)
    .max(20)
    .default(4)
    .describe('Connections to DATABASE_URL at the same time.'),
  historyRetention: duration().prefault('90d').describe('How long the history of runs is kept.'),
  actionRetention: duration().prefault('400d').describe('How long the audit trail of actions is kept.'),
})

export type ProgramOptions = z.output<typeof programOptions>

export const programSection: Section = { schema: programOptions }

/** The list of tasks by itself, to be read when another option is wrong. */
export const tasksAlone: Section = { schema: programOptions.pick({ tasks: true }) }
