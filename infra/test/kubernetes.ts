/** Manifests as the API server would see them: rendered by kustomize, and held against the API's own description. */
import { Ajv, type ValidateFunction } from 'ajv'
import { execaSync } from 'execa'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

export const infra = dirname(import.meta.dirname)

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly [field: string]: unknown
}

const renderers: readonly (readonly [program: string, ...args: string[]])[] = [
  ['kustomize', 'build'],
  ['kubectl', 'kustomize'],
]

/** Components came with kustomize 4, which is in kubectl from 1.21 on. Debian 12 has 1.20. */
const renderer = renderers.find(([program, ...args]) => {
  const { exitCode } = execaSync(program, [...args, join(infra, 'k8s-overlays/full')], { reject: false })
  return exitCode === 0
})
export const noRenderer =
  renderer === undefined ? ' (skipped: kustomize is not installed; install kustomize 4 or kubectl 1.21, or newer)' : ''

/** @throws what kustomize says */
export function render(folder: string): readonly Manifest[] {
  if (renderer === undefined) throw new Error('there is no kustomize')
  const [program, ...args] = renderer
  return parseManifests(execaSync(program, [...args, folder]).stdout)
}

export function parseManifests(text: string): readonly Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors
    if (error) throw error
    return document.toJS() as Manifest
  })
}

/** The files that a kustomization names, its own folder's alone. */
export function resourceFiles(folder: string): readonly string[] {
  const path = join(folder, 'kustomization.yaml')
  const { resources = [] } = parse(readFileSync(path, 'utf8')) as { resources?: readonly string[] }
  return resources.filter((name) => name.endsWith('.yaml')).map((name) => join(folder, name))
}

interface VendoredSchema {
  readonly $comment: string
  readonly kinds: Readonly<Record<string, string>>
}

const schema = JSON.parse(readFileSync(join(import.meta.dirname, 'kubernetes.schema.json'), 'utf8')) as VendoredSchema
const ajv = new Ajv({ strict: false, allErrors: true }).addSchema(schema, 'kubernetes')

/**
 * What is wrong with a manifest, with where. Two descriptions of the same API, because each sees what the other does not: the closed schema
 * unknown fields, wrong types and missing fields, the models enumerations, quantities and bounds.
 */
export function problems(manifest: Manifest): readonly string[] {
  const { apiVersion, kind } = manifest
  const type = schema.kinds[`${apiVersion} ${kind}`]
  if (type === undefined)
    return [`${apiVersion} ${kind}: no such kind in the schema, which knows ${Object.keys(schema.kinds).join(', ')}`]
  const validate = ajv.getSchema(`kubernetes#/definitions/${type}`) as ValidateFunction
  const found: string[] = []
  if (!validate(manifest)) {
    for (const { instancePath, message, params } of validate.errors ?? [])
      found.push(`${kind}${instancePath}: ${message ?? ''} ${JSON.stringify(params)}`)
  }
  try {
    new (modelOf(apiVersion, kind))(manifest).validate()
  } catch (error) {
    found.push(`${kind}: ${(error as Error).message}`)
  }
  return found
}

type Model = new (data: unknown) => { validate(): void }

function modelOf(apiVersion: string, kind: string): Model {
  const require = createRequire(import.meta.url)
  const module = require(`kubernetes-models/${apiVersion}/${kind}`) as Record<string, Model | undefined>
  const model = module[kind]
  if (model === undefined) throw new Error(`kubernetes-models has no ${apiVersion} ${kind}`)
  return model
}

export const isFolderOfKustomize = (folder: string): boolean => existsSync(join(folder, 'kustomization.yaml'))
