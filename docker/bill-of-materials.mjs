/**
 * What the built program is made of: reads the bundler's own account (`dist/meta.json`), so that a package whose code was shaken out is not
 * listed and one that came in by a detour is. Writes `sbom.cdx.json` (CycloneDX 1.6) and `THIRD-PARTY-LICENSES.txt`.
 *
 * The same input gives the same bytes: no time, no random serial number.
 *
 * Usage: node docker/bill-of-materials.mjs apps/scheduler FOLDER
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A package's files may say more: these hold what its licence demands to be passed on. */
const licenceFile = /^(licen[cs]e|copying|notice)([.-].*)?$/i

/**
 * Packages whose code is in the bundle, sorted by name and version.
 * @param {string} appFolder of the built program
 */
export function packagesInBundle(appFolder) {
  const { parts } = JSON.parse(readFileSync(join(appFolder, 'dist/meta.json'), 'utf8'))
  const packages = new Map()
  for (const { inputs } of Object.values(parts.outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      // What was shaken out leaves nothing. Virtual modules (`absent:pg-native`) are the bundler's own.
      if (bytesInOutput === 0 || /^[a-z-]+:/.test(path)) continue
      const found = packageOf(resolve(appFolder, path))
      const key = `${found.name}@${found.version}`
      const known = packages.get(key) ?? { ...found, bytes: 0 }
      packages.set(key, { ...known, bytes: known.bytes + bytesInOutput })
    }
  }
  return [...packages.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value)
}

/** The nearest manifest above `file` that names a package; `{"type": "module"}` in a subfolder does not. */
function packageOf(file) {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    const path = join(folder, 'package.json')
    if (!existsSync(path)) continue
    const { name, version, license, licenses, private: isPrivate = false } = JSON.parse(readFileSync(path, 'utf8'))
    if (name === undefined || version === undefined) continue
    const licence =
      typeof license === 'string' ? license : (license?.type ?? licenses?.map(({ type }) => type).join(' OR '))
    if (!licence) throw new Error(`${name}@${version} in ${folder} names no licence`)
    return { name, version, licence, folder, own: isPrivate || !folder.includes('node_modules') }
  }
  throw new Error(`no package.json above ${file}`)
}

/** CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/ */
export function billOfMaterials(packages, application, runtimeVersion) {
  const component = ({ name, version, licence }) => ({
    type: 'library',
    'bom-ref': packageUrl(name, version),
    ...(name.startsWith('@') ? { group: name.split('/')[0] } : {}),
    name: name.replace(/^@[^/]+\//, ''),
    version,
    licenses: /[ ()]/.test(licence) ? [{ expression: licence }] : [{ license: { id: licence } }],
    purl: packageUrl(name, version),
  })
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: { ...component(application), type: 'application' },
    },
    components: [
      ...packages.filter(({ name }) => name !== application.name).map(component),
      {
        type: 'platform',
        'bom-ref': `pkg:generic/node@${runtimeVersion}`,
        name: 'node',
        version: runtimeVersion,
        description: 'the runtime, from the base image, whose own packages its publisher lists',
        purl: `pkg:generic/node@${runtimeVersion}`,
      },
    ],
  }
}

/** https://github.com/package-url/purl-spec: the @ of a scope is escaped. */
function packageUrl(name, version) {
  return `pkg:npm/${name.replace(/^@/, '%40')}@${version}`
}

/** Each text once, below the names of all packages that came with it. */
export function licenceTexts(packages) {
  const texts = new Map()
  for (const { name, version, licence, folder, own } of packages) {
    if (own) continue
    const files = readdirSync(folder).filter((file) => licenceFile.test(file))
    const text =
      files.length > 0
        ? files.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n')
        : `(its package carries no text; its manifest says ${licence})`
    const digest = createHash('sha256').update(text.replace(/\s+/g, ' ')).digest('hex')
    const known = texts.get(digest) ?? { names: [], text }
    known.names.push(`${name} ${version} (${licence})`)
    texts.set(digest, known)
  }
  return [...texts.values()]
    .map(({ names, text }) => `${names.join('\n')}\n\n${text}\n`)
    .join(`\n${'-'.repeat(80)}\n\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [app, target] = process.argv.slice(2)
  if (app === undefined || target === undefined) {
    console.error('usage: node docker/bill-of-materials.mjs apps/scheduler FOLDER')
    process.exit(64)
  }
  const packages = packagesInBundle(resolve(app))
  const { name, version, license: licence } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8'))
  const bom = billOfMaterials(packages, { name, version, licence }, process.versions.node)
  writeFileSync(join(target, 'sbom.cdx.json'), `${JSON.stringify(bom, null, 1)}\n`)
  writeFileSync(join(target, 'THIRD-PARTY-LICENSES.txt'), licenceTexts(packages))
  console.log(`${packages.length} packages in the bundle`)
}
