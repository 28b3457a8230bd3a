/**
 * The objects that the driver `kubernetes` makes, and what their status means. Pure.
 * https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/#backup, https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
 */
import type { BackupConfig } from './config.js'
import type { Sighting } from './driver.js'

export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec?: unknown
  readonly status?: unknown
}

export interface Resource {
  /** `/apis/postgresql.cnpg.io/v1` */
  readonly group: string
  readonly plural: string
}

export const backupResource: Resource = { group: '/apis/postgresql.cnpg.io/v1', plural: 'backups' }
export const jobResource: Resource = { group: '/apis/batch/v1', plural: 'jobs' }
export const cronJobResource: Resource = { group: '/apis/batch/v1', plural: 'cronjobs' }

export interface ObjectIdentity {
  readonly name: string
  readonly namespace: string
  readonly slotId: string
}

/** By these an object that exists already is known as the one that was asked for. */
export const slotAnnotation = 'scheduler.battlescope.io/slot'
/** Of a Job: kind and name of what it was made of. Slots are named alike in every scheduler. */
export const templateAnnotation = 'scheduler.battlescope.io/template'
const managedBy = { 'app.kubernetes.io/managed-by': 'battlescope-scheduler' }

function metadataOf({ name, namespace, slotId }: ObjectIdentity, more: Labelled = {}): KubernetesObject['metadata'] {
  return {
    name,
    namespace,
    labels: { ...more.labels, ...managedBy },
    annotations: { ...more.annotations, [slotAnnotation]: slotId },
  }
}

interface Labelled {
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export function backupObject(
  identity: ObjectIdentity,
  {
    cluster,
    backupMethod,
    backupPlugin,
    backupTarget,
  }: Pick<BackupConfig, 'cluster' | 'backupMethod' | 'backupPlugin' | 'backupTarget'>,
): KubernetesObject {
  return {
    apiVersion: 'postgresql.cnpg.io/v1',
    kind: 'Backup',
    metadata: metadataOf(identity),
    spec: {
      cluster: { name: cluster },
      ...(backupMethod === undefined ? {} : { method: backupMethod }),
      ...(backupMethod === 'plugin' ? { pluginConfiguration: { name: backupPlugin } } : {}),
      ...(backupTarget === undefined ? {} : { target: backupTarget }),
    },
  }
}

/** A Job as the controller makes it of a CronJob, or as a file has it. @throws TypeError for what is neither */
export function jobObject(identity: ObjectIdentity, template: unknown): KubernetesObject {
  const { kind, metadata, spec } = asRecord(template)
  if (kind !== 'Job' && kind !== 'CronJob') {
    throw new TypeError(
      `neither a Job nor a CronJob, but ${typeof kind === 'string' ? kind : 'something without a kind'}`,
    )
  }
  const job = kind === 'Job' ? { metadata, spec } : asRecord(asRecord(spec)['jobTemplate'])
  const jobSpec = asRecord(job.spec)
  if (Object.keys(jobSpec).length === 0) throw new TypeError(`a ${kind} without a spec of the Job`)
  const { labels, annotations } = asRecord(job.metadata) as Labelled
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: metadataOf(identity, {
      ...(labels === undefined ? {} : { labels }),
      // What kubectl create job --from does, too: controllers and people can tell it from a scheduled one.
      annotations: {
        ...annotations,
        ...(kind === 'CronJob' ? { 'cronjob.kubernetes.io/instantiate': 'manual' } : {}),
        [templateAnnotation]: `${kind}/${textOf(asRecord(metadata)['name']) ?? ''}`,
      },
    }),
    spec: jobSpec,
  }
}

/** Whether what is there under the name is what was to be made: made for this slot, of the same Cluster or of the same template. */
export function isOurs(found: unknown, wanted: KubernetesObject): boolean {
  const { metadata, spec } = asRecord(found)
  const annotations = asRecord(asRecord(metadata)['annotations'])
  const isSame = (annotation: string) => annotations[annotation] === wanted.metadata.annotations?.[annotation]
  if (!isSame(slotAnnotation)) return false
  if (wanted.kind !== 'Backup') return isSame(templateAnnotation)
  return asRecord(asRecord(spec)['cluster'])['name'] === asRecord(asRecord(wanted.spec)['cluster'])['name']
}

/** What the status of a Backup or a Job says. An empty one says that nobody has begun. */
export function sightingOf(found: unknown): Sighting {
  const { kind, status } = asRecord(found)
  return kind === 'Job' ? jobSighting(asRecord(status)) : backupSighting(asRecord(status))
}

/** Phases of CloudNativePG: pending, started, running, finalizing, walArchivingFailing; completed; failed. One that is new to us still runs. */
function backupSighting(status: Fields): Sighting {
  const phase = textOf(status['phase'])
  const startedAt = dateOf(status['startedAt'])
  const finishedAt = dateOf(status['stoppedAt'])
  const path = textOf(status['destinationPath'])
  const id = textOf(status['backupId']) ?? textOf(status['backupName'])
  const location = [path?.replace(/\/$/, ''), id].filter((part) => part !== undefined).join('/')
  const message =
    textOf(status['error']) ??
    (phase === 'walArchivingFailing' ? 'CloudNativePG waits: WAL archiving fails' : undefined)
  return {
    state: phase === 'completed' ? 'succeeded' : phase === 'failed' ? 'failed' : 'running',
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(location === '' ? {} : { location }),
    ...(message === undefined ? {} : { message }),
  }
}

function jobSighting(status: Fields): Sighting {
  const conditions = Array.isArray(status['conditions']) ? status['conditions'].map(asRecord) : []
  const held = (type: string) => conditions.find((each) => each['type'] === type && each['status'] === 'True')
  const [complete, failed] = [held('Complete'), held('Failed')]
  const startedAt = dateOf(status['startTime'])
  const finishedAt = dateOf(status['completionTime']) ?? dateOf((complete ?? failed)?.['lastTransitionTime'])
  const message = [textOf(failed?.['reason']), textOf(failed?.['message'])]
    .filter((part) => part !== undefined)
    .join(': ')
  return {
    state: complete !== undefined ? 'succeeded' : failed !== undefined ? 'failed' : 'running',
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(message === '' ? {} : { message }),
  }
}

type Fields = Readonly<Record<string, unknown>>

function asRecord(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function dateOf(value: unknown): Date | undefined {
  const at = typeof value === 'string' ? new Date(value) : undefined
  return at === undefined || Number.isNaN(at.getTime()) ? undefined : at
}
