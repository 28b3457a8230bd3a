/**
 * Makes the schema that the manifests are held against, from the Kubernetes API's own OpenAPI description, which the official JavaScript
 * client carries as tables. Run again for a newer API, or for another kind:
 *
 *   npm install --no-save --prefix /tmp/client @kubernetes/client-node@2.0.1
 *   node infra/scripts/make-schema.mjs /tmp/client/node_modules/@kubernetes/client-node
 *
 * Every object is closed: a field that the API does not know is an error here, where the API server would drop it in silence.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** The kinds in use: class of the client, then what a manifest says. */
const kinds = {
  V1ConfigMap: ['v1', 'ConfigMap'],
  V1CronJob: ['batch/v1', 'CronJob'],
  V1Job: ['batch/v1', 'Job'],
  V1NetworkPolicy: ['networking.k8s.io/v1', 'NetworkPolicy'],
  V1PriorityClass: ['scheduling.k8s.io/v1', 'PriorityClass'],
  V1Role: ['rbac.authorization.k8s.io/v1', 'Role'],
  V1RoleBinding: ['rbac.authorization.k8s.io/v1', 'RoleBinding'],
  V1ServiceAccount: ['v1', 'ServiceAccount'],
}

const [folder] = process.argv.slice(2)
if (folder === undefined) {
  console.error('usage: node infra/scripts/make-schema.mjs FOLDER_OF_@kubernetes/client-node')
  process.exit(64)
}
const models = join(folder, 'dist/gen/models')
const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const declarations = (type) => readFileSync(join(models, `${type}.d.ts`), 'utf8')
const [, api] = /OpenAPI spec version: (\S+)/.exec(declarations('V1CronJob'))

const definitions = {}
for (const type of Object.keys(kinds)) await define(type)

const schema = {
  $comment: `Made by infra/scripts/make-schema.mjs from ${name} ${version} (${license}), whose source is the Kubernetes API of ${api}.`,
  kinds: Object.fromEntries(Object.entries(kinds).map(([type, [apiVersion, kind]]) => [`${apiVersion} ${kind}`, type])),
  definitions,
}
writeFileSync(new URL('../test/kubernetes.schema.json', import.meta.url), `${JSON.stringify(schema)}\n`)
console.log(`${api}: ${Object.keys(definitions).length} definitions`)

async function define(type) {
  if (type in definitions) return
  definitions[type] = {}
  const { [type]: model } = await import(pathToFileURL(join(models, `${type}.js`)).href)
  const text = declarations(type)
  const properties = {}
  const required = []
  for (const { name: field, baseName, type: fieldType, format } of model.getAttributeTypeMap()) {
    properties[baseName] = await schemaOf(fieldType, format)
    // A field that may be left out is declared with a question mark.
    if (new RegExp(`^ {4}'${field}': `, 'm').test(text)) required.push(baseName)
  }
  definitions[type] = {
    type: 'object',
    properties,
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
  }
}

async function schemaOf(type, format) {
  const list = /^Array<(.*)>$/.exec(type)
  if (list) return { type: 'array', items: await schemaOf(list[1], format) }
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type)
  if (map) return { type: 'object', additionalProperties: await schemaOf(map[1], format) }
  switch (type) {
    case 'string':
      return { type: 'string' }
    case 'boolean':
      return { type: 'boolean' }
    case 'number':
      return { type: /^int/.test(format) ? 'integer' : 'number' }
    case 'Date':
    case 'V1MicroTime':
      return { type: 'string' }
    case 'IntOrString':
      return { type: ['integer', 'string'] }
    case 'any':
    case 'object':
      return {}
  }
  await define(type)
  return { $ref: `#/definitions/${type}` }
}
