/**
 * The driver `kubernetes`: makes one object and looks at it in later runs. Plain requests to the API server with the pod's own token: to create and
 * to get that kind in one namespace is all the right it needs (for kubernetesObject cronjob also to get that CronJob).
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, type HttpReader, type HttpResponse } from '@battlescope/scheduler-core'
import { parse } from 'yaml'
import {
  answerOf,
  NotSeen,
  NotStarted,
  requestTimeoutMs,
  type BackupContext,
  type Sighting,
  type TriggerDriver,
} from './driver.js'
import {
  backupObject,
  backupResource,
  cronJobResource,
  isOurs,
  jobObject,
  jobResource,
  sightingOf,
  type KubernetesObject,
  type ObjectIdentity,
  type Resource,
} from './kubernetes-objects.js'
import type { BackupRecord } from './tables.js'

/** The API server and how to talk to it. */
interface Api {
  readonly namespace: string
  readonly headers: Readonly<Record<string, string>>
  readonly caCertificate: string | undefined
}

export const kubernetesDriver: TriggerDriver = {
  target: ({ config }) => {
    const where = config.namespace === undefined ? '' : ` in ${config.namespace}`
    if (config.kubernetesObject === 'backup') return `Backup of ${config.cluster ?? ''}${where}`
    return `Job of ${(config.kubernetesObject === 'cronjob' ? config.cronJob : config.jobFile) ?? ''}${where}`
  },

  async start(context, backup) {
    const { config } = context
    const reason = backup.name
    const kind = config.kubernetesObject === 'backup' ? 'create-backup' : 'create-job'
    let sighting: Sighting | undefined
    await context.act({ kind, target: kubernetesDriver.target(context), reason, via: 'http' }, async (client) => {
      const api = await readApi(context)
      const wanted = await wantedObject(context, client, api, backup)
      const resource = resourceOf(context)
      const answer = await asked(context, NotStarted, () =>
        client.post({ ...requestOf(context, api, resource), body: JSON.stringify(wanted) }),
      )
      // Made by a run that was killed before it could write that down, or whose answer was lost.
      const isTaken = answer.status === 409
      const found = isTaken
        ? await asked(context, NotStarted, () => client.get(requestOf(context, api, resource, backup.name)))
        : answer
      if (found.status < 200 || found.status > 299)
        throw refused(NotStarted, found, resource, isTaken ? 'get' : 'create')
      const object = parsed(found.body)
      if (isTaken && !isOurs(object, wanted)) {
        throw new NotStarted(
          'name-taken',
          `there is ${wanted.kind} ${api.namespace}/${backup.name} of somebody else`,
          'two schedulers back up from one namespace: give each a backup.namePrefix of its own',
        )
      }
      sighting = { ...sightingOf(object), ...(isTaken ? {} : { state: 'running' as const }) }
      return { details: { name: backup.name, namespace: api.namespace, adopted: isTaken } }
    })
    return sighting
  },

  async look(context, backup) {
    const api = await readApi(context)
    const resource = resourceOf(context)
    const client = await context.client('http')
    const answer = await asked(context, NotSeen, () => client.get(requestOf(context, api, resource, backup.name)))
    const object = parsed(answer.body)
    // Of the object, not of a path that this server does not know, nor of a proxy in between.
    if (answer.status === 404 && isObjectNotFound(object, backup.name)) {
      return { state: 'vanished', message: `${resource.plural.slice(0, -1)} ${api.namespace}/${backup.name} is gone` }
    }
    if (answer.status !== 200) throw refused(NotSeen, answer, resource, 'get')
    return sightingOf(object)
  },
}

function resourceOf({ config }: BackupContext): Resource {
  return config.kubernetesObject === 'backup' ? backupResource : jobResource
}

async function readApi({ config }: BackupContext): Promise<Api> {
  const token = await readMounted(config.serviceAccountFolder, 'token')
  const namespace = config.namespace ?? (await readMounted(config.serviceAccountFolder, 'namespace'))
  const needsCa = config.apiServer.startsWith('https:')
  return {
    namespace,
    headers: { accept: 'application/json', 'content-type': 'application/json', authorization: `Bearer ${token}` },
    caCertificate: needsCa ? await readMounted(config.serviceAccountFolder, 'ca.crt') : undefined,
  }
}

/** Read in each run: the kubelet replaces tokens before they expire. */
async function readMounted(folder: string, name: string): Promise<string> {
  try {
    return (await readFile(join(folder, name), 'utf8')).trim()
  } catch (error) {
    throw new NotStarted(
      'no-service-account',
      `${join(folder, name)} cannot be read: ${codeOf(error) ?? 'unknown error'}`,
      'the pod needs automountServiceAccountToken: true; see infra/k8s/components/backup-cnpg and backup-job',
    )
  }
}

async function wantedObject(
  context: BackupContext,
  client: HttpReader,
  api: Api,
  backup: BackupRecord,
): Promise<KubernetesObject> {
  const { config } = context
  const identity: ObjectIdentity = { name: backup.name, namespace: api.namespace, slotId: backup.slotId }
  if (config.kubernetesObject === 'backup') return backupObject(identity, config)
  const [template, from] =
    config.kubernetesObject === 'cronjob'
      ? [await readCronJob(context, client, api, config.cronJob ?? ''), `the CronJob ${config.cronJob ?? ''}`]
      : [await readJobFile(config.jobFile ?? ''), `the file ${config.jobFile ?? ''}`]
  try {
    return jobObject(identity, template)
  } catch (error) {
    throw new NotStarted('job-template-unfit', `${from} is ${(error as Error).message}`)
  }
}

async function readCronJob(context: BackupContext, client: HttpReader, api: Api, name: string): Promise<unknown> {
  const answer = await asked(context, NotStarted, () => client.get(requestOf(context, api, cronJobResource, name)))
  if (answer.status !== 200) throw refused(NotStarted, answer, cronJobResource, 'get')
  return parsed(answer.body)
}

async function readJobFile(path: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw new NotStarted('job-template-missing', `${path} cannot be read: ${codeOf(error) ?? 'unknown error'}`)
  }
  try {
    return parse(text)
  } catch (error) {
    throw new NotStarted('job-template-unfit', `${path} is no YAML: ${(error as Error).message.split('\n')[0] ?? ''}`)
  }
}

function requestOf(context: BackupContext, api: Api, { group, plural }: Resource, name?: string) {
  const { config, signal } = context
  const path = `${group}/namespaces/${api.namespace}/${plural}${name === undefined ? '' : `/${name}`}`
  return {
    url: `${config.apiServer.replace(/\/$/, '')}${path}`,
    headers: api.headers,
    timeoutMs: requestTimeoutMs(context),
    signal,
    ...(api.caCertificate === undefined ? {} : { caCertificate: api.caCertificate }),
  }
}

type Refusal = typeof NotStarted | typeof NotSeen

const unreachable = 'does a NetworkPolicy let the pod reach it? see infra/k8s/components/backup-cnpg'

function asked(context: BackupContext, Raised: Refusal, exchange: () => Promise<HttpResponse>): Promise<HttpResponse> {
  return answerOf(context, Raised, 'the Kubernetes API', exchange, unreachable)
}

/** What a status of the API means for whoever has to mend it. */
function refused(Raised: Refusal, { status, body }: HttpResponse, resource: Resource, verb: 'create' | 'get'): Error {
  const { message } = parsed(body) as { readonly message?: unknown }
  const said = typeof message === 'string' ? `: ${message.replace(/\s+/g, ' ').slice(0, 400)}` : ''
  const group = resource.group.split('/')[2] ?? ''
  const hints: Readonly<Record<number, string>> = {
    401: 'the token of the service account is not accepted; is it the one that Kubernetes mounts?',
    403: `the service account needs the verb ${verb} on ${resource.plural}.${group} in the namespace`,
    404:
      resource === backupResource
        ? 'is CloudNativePG installed, and is it this namespace?'
        : 'is it this namespace, and this name?',
    422: 'the object is not one that this version of Kubernetes or CloudNativePG takes',
  }
  return new Raised(
    `http-${status}`,
    `the Kubernetes API answered ${status} to ${verb} ${resource.plural}${said}`,
    hints[status],
  )
}

function isObjectNotFound(status: unknown, name: string): boolean {
  const { reason, details } = status as { readonly reason?: unknown; readonly details?: { readonly name?: unknown } }
  return reason === 'NotFound' && details?.name === name
}

function parsed(body: string): object {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
