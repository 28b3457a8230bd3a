import { duration, secret, size } from '@battlescope/scheduler-core'
import { z } from 'zod'

export const drivers = ['none', 'kubernetes', 'http', 'command', 'pg-dump'] as const
export type DriverName = Exclude<(typeof drivers)[number], 'none'>

/** fetch() refuses credentials in a URL and drops a fragment. */
const serviceUrl = (placeholder: boolean) =>
  z.string().superRefine((text, context) => {
    const filled = placeholder ? text.replaceAll('{name}', 'name') : text
    const url = URL.canParse(filled) ? new URL(filled) : undefined
    if (placeholder && !text.includes('{name}')) {
      // One answer for every backup: yesterday's success would be taken for tonight's.
      context.addIssue({
        code: 'custom',
        message: 'a URL with {name} in it, which stands for the name of the backup: https://host/backups/{name}',
      })
    } else if (url === undefined || !/^https?:$/.test(url.protocol) || url.username + url.password + url.hash !== '') {
      context.addIssue({
        code: 'custom',
        message: `an http:// or https:// URL without user, password and fragment${placeholder ? '; {name} stands for the name of the backup' : '; the token has an option of its own'}`,
      })
    }
  })

/** DNS-1123: what Kubernetes allows as a name, short enough to leave room for what is added. */
const kubernetesName = (longest: number) =>
  z.string().regex(new RegExp(`^(?=.{1,${longest}}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$`), {
    error: `a to z, 0 to 9 and -, at most ${longest} characters, - neither first nor last`,
  })

const kept = z.number().int().min(1).max(10_000)

export const backupConfig = z
  .object({
    driver: z
      .enum(drivers)
      .default('none')
      .describe(
        'Who takes the backup: kubernetes (a Backup of CloudNativePG, or a Job), http (a service), command (pgbackrest, wal-g, …), pg-dump (small databases, into the cold storage), or none: only WAL archiving is looked at.',
      ),
    minAge: duration({ min: '0s' })
      .prefault('6h')
      .describe('No other backup is taken while the newest good one is younger: for slots that are caught up late.'),
    attempts: z
      .number()
      .int()
      .min(1)
      .max(10)
      .default(2)
      .describe('How often a backup that fails is tried in one slot.'),
    stuckAfter: duration({ min: '1m' })
      .prefault('6h')
      .describe(
        'How long a backup may take. Then it is reported and no longer waited for, but looked at for a week more.',
      ),
    maxAge: duration({ min: '1m' })
      .prefault('26h')
      .describe('How old the newest good backup may be. A day, and the time that a backup takes.'),
    minSizeRatio: z
      .number()
      .min(0.01)
      .max(1)
      .default(0.5)
      .describe('A backup smaller than this part of the good one before it is reported, and nothing is pruned for it.'),
    walArchiving: z
      .enum(['expected', 'if-on', 'ignored'])
      .default('if-on')
      .describe(
        'Failing WAL archiving is reported: where archive_mode is on (if-on); also that it is off (expected); not at all (ignored).',
      ),

    kubernetesObject: z
      .enum(['backup', 'cronjob', 'job-file'])
      .default('backup')
      .describe(
        'kubernetes: what is made: a Backup of CloudNativePG, a Job as a CronJob would make it, or a Job from a file.',
      ),
    namespace: kubernetesName(63)
      .optional()
      .describe('kubernetes: where. Default: the namespace of the pod, from its service account.'),
    namePrefix: kubernetesName(20)
      .optional()
      .describe('kubernetes: begins every name. Needed where two schedulers back up from one namespace.'),
    cluster: kubernetesName(50)
      .optional()
      .describe('kubernetes, backup: the Cluster of CloudNativePG. Required there.'),
    backupMethod: z
      .enum(['barmanObjectStore', 'volumeSnapshot', 'plugin'])
      .optional()
      .describe("kubernetes, backup: how. Default: CloudNativePG's own."),
    backupPlugin: z
      .string()
      .min(1)
      .optional()
      .describe('kubernetes, backup: the plug-in of method plugin, such as barman-cloud.cloudnative-pg.io.'),
    backupTarget: z
      .enum(['primary', 'prefer-standby'])
      .optional()
      .describe('kubernetes, backup: from which instance. Default: what the Cluster says.'),
    cronJob: kubernetesName(52)
      .optional()
      .describe('kubernetes, cronjob: whose jobTemplate is taken; it may be suspended. Required there.'),
    jobFile: z
      .string()
      .min(1)
      .optional()
      .describe('kubernetes, job-file: path of a YAML or JSON file with a Job or a CronJob. Required there.'),
    apiServer: serviceUrl(false)
      .default('https://kubernetes.default.svc')
      .describe('kubernetes: URL of the API server.'),
    serviceAccountFolder: z
      .string()
      .min(1)
      .default('/var/run/secrets/kubernetes.io/serviceaccount')
      .describe('kubernetes: folder with token, ca.crt and namespace, as Kubernetes mounts it.'),

    url: serviceUrl(false)
      .optional()
      .describe('http: where a backup is asked for with POST. Required with driver http.')
      // A query may hold a key.
      .meta({ secret: 'url' }),
    statusUrl: serviceUrl(true)
      .optional()
      .describe(
        'http: where its state is asked for with GET; {name} stands in it for the name of the backup. Without a statusUrl the answer to POST must say how it ended.',
      )
      .meta({ secret: 'url' }),
    token: secret()
      .regex(/^[\x21-\x7e]+$/, { error: 'visible ASCII characters without spaces' })
      .optional()
      .describe('http: bearer token of the Authorization header. Without it none is sent.'),
    requestTimeout: duration({ min: '100ms', max: '1m' })
      .prefault('10s')
      .describe('http, kubernetes: how long one request may take.'),

    command: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'command: program and arguments; no shell reads them. In each, {name} stands for the name of the backup.',
      ),
    commandTimeout: duration({ min: '1s' })
      .prefault('30s')
      .describe(
        'command: after this it is ended (SIGTERM, then SIGKILL). Not started with less budget left than it is expected to take.',
      ),
    commandEnvironment: z
      .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'a name of an environment variable' }))
      .default([])
      .describe('command: variables that are handed on, beside PATH, HOME, LANG and TZ. Nothing else is.'),
    commandConnection: z
      .boolean()
      .default(false)
      .describe("command: hand on PGHOST, PGUSER, PGPASSWORD, … of the scheduler's own connection."),

    compressionLevel: z
      .number()
      .int()
      .min(0)
      .max(9)
      .default(1)
      .describe('pg-dump: 0 (none) to 9. Levels above 1 take several times as long for a few percent.'),
    minSize: size()
      .prefault('1kB')
      .describe('pg-dump: a dump that is smaller is no backup: it is removed and has failed.'),
    assumedRate: size({ min: '1kB' })
      .prefault('10MiB')
      .describe('pg-dump: bytes of the database per second, until there is a dump to learn the rate from.'),
    prune: z.boolean().default(true).describe('pg-dump: remove dumps that no rule below keeps.'),
    keepLast: kept.default(3).describe('pg-dump: keep the newest so many, whatever their age. Never fewer are left.'),
    keepDaily: kept
      .default(30)
      .describe('pg-dump: keep the last of each of the newest so many days that have one (UTC).'),
    keepWeekly: kept.optional().describe('pg-dump: the same of weeks, from Monday on. Absent: none.'),
    keepMonthly: kept.default(12).describe('pg-dump: the same of months.'),
  })
  .superRefine((config, context) => {
    const needed: readonly (readonly [boolean, keyof typeof config, string])[] = [
      [config.driver === 'http', 'url', 'the URL of the service, because driver is http'],
      [
        config.driver === 'kubernetes' && config.kubernetesObject === 'backup',
        'cluster',
        'the Cluster to back up, because driver is kubernetes and kubernetesObject is backup',
      ],
      [
        config.driver === 'kubernetes' && config.kubernetesObject === 'cronjob',
        'cronJob',
        'the CronJob to take the Job from, because kubernetesObject is cronjob',
      ],
      [
        config.driver === 'kubernetes' && config.kubernetesObject === 'job-file',
        'jobFile',
        'the file with the Job, because kubernetesObject is job-file',
      ],
      [config.backupMethod === 'plugin', 'backupPlugin', 'the name of the plug-in, because backupMethod is plugin'],
    ]
    for (const [isNeeded, option, message] of needed) {
      if (isNeeded && config[option] === undefined) context.addIssue({ code: 'custom', path: [option], message })
    }
    if (config.driver === 'command' && config.command.length === 0) {
      context.addIssue({
        code: 'custom',
        path: ['command'],
        message: 'program and arguments, such as [pgbackrest, --stanza=main, backup], because driver is command',
      })
    }
  })

export type BackupConfig = z.output<typeof backupConfig>
