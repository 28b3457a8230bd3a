/**
 * A small API server: HTTPS with an authority of its own, and as strict as the real one where it matters here: the token, RBAC by verb and kind
 * in one namespace, names (DNS-1123, taken ones), and the schema of what is made.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv, type ValidateFunction } from 'ajv'
import { parseAllDocuments } from 'yaml'

export const noOpenSsl =
  spawnSync('openssl', ['version']).status === 0 ? '' : ' (skipped: openssl is not installed; apt-get install openssl)'

/** The fields of the spec in CloudNativePG's CustomResourceDefinition `backups.postgresql.cnpg.io`, v1, closed: it would drop what it does not know. */
const backupSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['apiVersion', 'kind', 'metadata', 'spec'],
  properties: {
    apiVersion: { const: 'postgresql.cnpg.io/v1' },
    kind: { const: 'Backup' },
    metadata: { type: 'object' },
    spec: {
      type: 'object',
      additionalProperties: false,
      required: ['cluster'],
      properties: {
        cluster: {
          type: 'object',
          additionalProperties: false,
          required: ['name'],
          properties: { name: { type: 'string' } },
        },
        method: { enum: ['barmanObjectStore', 'volumeSnapshot', 'plugin'] },
        target: { enum: ['primary', 'prefer-standby'] },
        online: { type: 'boolean' },
        onlineConfiguration: { type: 'object' },
        pluginConfiguration: {
          type: 'object',
          additionalProperties: false,
          required: ['name'],
          properties: { name: { type: 'string' }, parameters: { type: 'object' } },
        },
      },
    },
  },
}

const ajv = new Ajv({ strict: false, allErrors: true })
// The API's own description, as infra holds its manifests against it.
ajv.addSchema(
  JSON.parse(readFileSync(join(import.meta.dirname, '../../../infra/test/kubernetes.schema.json'), 'utf8')) as object,
  'kubernetes',
)
const validators: Readonly<Record<string, ValidateFunction>> = {
  backups: ajv.compile(backupSchema),
  jobs: ajv.getSchema('kubernetes#/definitions/V1Job') as ValidateFunction,
}

type Stored = Record<string, unknown> & { metadata: { name: string } }

export interface Rule {
  readonly verb: string
  readonly resource: string
  /** Only these; all of them where there are none. */
  readonly names?: readonly string[]
}

/** What a component of infra grants: the manifests are held against what the driver does, and the other way round. */
export function rulesOf(component: string): readonly Rule[] {
  const file = join(import.meta.dirname, `../../../infra/k8s/components/${component}/role.yaml`)
  const [role] = parseAllDocuments(readFileSync(file, 'utf8')).map(
    (document) => document.toJS() as { rules: RoleRule[] },
  )
  return (role?.rules ?? []).flatMap(({ resources, verbs, resourceNames }) =>
    resources.flatMap((resource) =>
      verbs.map((verb) => ({ verb, resource, ...(resourceNames === undefined ? {} : { names: resourceNames }) })),
    ),
  )
}

interface RoleRule {
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
  readonly resourceNames?: readonly string[]
}

export class ApiServer {
  readonly objects = new Map<string, Stored>()
  /** Verb and resource of every request. */
  readonly seen: string[] = []
  rules: readonly Rule[] = []
  /** Resources that are there; without a custom resource's definition its path is unknown. */
  kinds = ['backups', 'jobs', 'cronjobs']
  /** Takes the place of the next answer to a POST, after it took effect: an answer that is lost. */
  dropsNextAnswer = false
  readonly token = 'a-token-of-the-kubelet'
  readonly namespace = 'battlescope'
  readonly #server: Server
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
    this.#server = createServer(
      { key: readFileSync(join(folder, 'key.pem')), cert: readFileSync(join(folder, 'cert.pem')) },
      (request, response) => {
        let body = ''
        request.on('data', (chunk: Buffer) => (body += chunk.toString()))
        request.on('end', () => {
          const { status, value } = this.#answer(
            request.method ?? '',
            request.url ?? '',
            request.headers.authorization,
            body,
          )
          if (request.method === 'POST' && this.dropsNextAnswer) {
            this.dropsNextAnswer = false
            request.socket.destroy()
            return
          }
          response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
        })
      },
    )
  }

  static async start(): Promise<ApiServer> {
    const folder = mkdtempSync(join(tmpdir(), 'api-server-'))
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=api',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        join(folder, 'key.pem'),
        '-out',
        join(folder, 'cert.pem'),
      ],
      { stdio: 'ignore' },
    )
    const server = new ApiServer(folder)
    writeFileSync(join(folder, 'ca.crt'), readFileSync(join(folder, 'cert.pem')))
    writeFileSync(join(folder, 'token'), `${server.token}\n`)
    writeFileSync(join(folder, 'namespace'), server.namespace)
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve))
    return server
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** As Kubernetes mounts it. */
  get serviceAccountFolder(): string {
    return this.#folder
  }

  writeToken(token: string): void {
    writeFileSync(join(this.#folder, 'token'), token)
  }

  only(): Stored {
    const [object, ...more] = this.objects.values()
    if (object === undefined || more.length > 0) throw new Error(`${this.objects.size} objects`)
    return object
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #answer(method: string, path: string, authorization: string | undefined, body: string) {
    const failed = (code: number, reason: string, message: string, name?: string) => ({
      status: code,
      value: { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, message, code, details: { name } },
    })
    if (authorization !== `Bearer ${this.token}`) return failed(401, 'Unauthorized', 'Unauthorized')
    const [, group, namespace, resource, name] =
      /^\/apis\/(postgresql\.cnpg\.io\/v1|batch\/v1)\/namespaces\/([^/]+)\/([^/?]+)(?:\/([^/?]+))?$/.exec(path) ?? []
    const verb = method === 'POST' ? 'create' : method === 'GET' ? 'get' : method
    this.seen.push(`${verb} ${resource ?? path}`)
    const isKnown =
      resource !== undefined &&
      this.kinds.includes(resource) &&
      group === (resource === 'backups' ? 'postgresql.cnpg.io/v1' : 'batch/v1')
    if (!isKnown) return failed(404, 'NotFound', 'the server could not find the requested resource')
    const allowed =
      namespace === this.namespace &&
      this.rules.some(
        ({ names, ...rule }) =>
          rule.verb === verb && rule.resource === resource && (names?.includes(name ?? '') ?? true),
      )
    if (!allowed) return failed(403, 'Forbidden', `${resource} is forbidden: cannot ${verb} resource "${resource}"`)
    if (verb === 'get') {
      const found = this.objects.get(`${resource}/${name ?? ''}`)
      return found === undefined
        ? failed(404, 'NotFound', `${resource} "${name ?? ''}" not found`, name)
        : { status: 200, value: found }
    }
    const object = JSON.parse(body) as Stored
    const validate = validators[resource]
    if (validate?.(object) !== true) return failed(422, 'Invalid', ajv.errorsText(validate?.errors))
    if (!/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(object.metadata.name))
      return failed(422, 'Invalid', 'metadata.name: not DNS-1123')
    const key = `${resource}/${object.metadata.name}`
    if (this.objects.has(key)) return failed(409, 'AlreadyExists', `${key} already exists`, object.metadata.name)
    this.objects.set(key, object)
    return { status: 201, value: object }
  }
}
