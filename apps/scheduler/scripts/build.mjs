/**
 * Builds the program: CommonJS, because V8's code cache works with scripts alone. What every run needs is one file, `main.cjs`; what only
 * some reach (a command line, telemetry, the SDK of S3, the client of Redis) lies beside it, part by part, and is read when a run
 * comes to its `import()`. Each part is evaluated once, whoever asks for it.
 *
 * Two passes, because esbuild splits only ESM: the first splits and leaves out what is unused, the second turns each part into CommonJS.
 *
 * No `import()` is left in the output: a script that runs from a code cache cannot call it, and an exporter that tried would lose its
 * spans without a word. Third-party packages are imported by the loader in `bin/`, which hands in its own `import`.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { basename } from 'node:path'
import { build, transform } from 'esbuild'
import { editPackages, notInThisBuild, packagesAreImportedStatically, zodByName } from './build-plugins.mjs'

const folder = new URL('..', import.meta.url)
const { version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'))
const partsFolder = 'dist/parts'

rmSync(new URL('dist', folder), { recursive: true, force: true })
mkdirSync(new URL('dist', folder))

const common = {
  absWorkingDir: fileURLToPath(folder),
  bundle: true,
  platform: 'node',
  target: 'node20',
  minifySyntax: false,
  minifyWhitespace: false,
  logLevel: 'warning',
}

const parts = await build({
  ...common,
  entryPoints: ['src/main.ts'],
  outdir: partsFolder,
  format: 'esm',
  splitting: true,
  // OpenTelemetry publishes ESM under `module`; from `main` it comes in whole.
  mainFields: ['module', 'main'],
  conditions: ['@battlescope/source', 'module'],
  legalComments: 'inline',
  define: {
    VERSION: JSON.stringify(version),
    // The SDK of S3 announces on stderr, in the middle of our log, which Node it will want in a year.
    'process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED': '"true"',
    // Only yargs asks, for its translations, which are not in the bundle.
    'import.meta.url': JSON.stringify('file:///battlescope-scheduler/main.cjs'),
  },
  metafile: true,
  plugins: [packagesAreImportedStatically, notInThisBuild, editPackages, zodByName],
})

const { outputs } = parts.metafile
const main = Object.keys(outputs).find((path) => outputs[path].entryPoint === 'src/main.ts')

/** What `path` needs at once, itself included. */
function eagerParts(path, found = new Set()) {
  if (found.has(path)) return found
  found.add(path)
  for (const { path: imported, kind } of outputs[path].imports)
    if (kind === 'import-statement' && Object.hasOwn(outputs, imported)) eagerParts(imported, found)
  return found
}

/** Whether nearly all of a part comes from packages of the registry. */
function isOfOthers(path) {
  const sizes = Object.entries(outputs[path].inputs).map(([file, { bytesInOutput }]) => ({ file, bytesInOutput }))
  const bytesOf = (list) => list.reduce((sum, { bytesInOutput }) => sum + bytesInOutput, 0)
  return bytesOf(sizes.filter(({ file }) => file.includes('node_modules'))) > 0.9 * bytesOf(sizes)
}

/** A part as the text of a function that evaluates it. */
async function asFunction(path) {
  const { code } = await transform(readFileSync(new URL(path, folder), 'utf8'), {
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    supported: { 'dynamic-import': false },
    legalComments: 'inline',
    // Comments of others are a tenth of the program, and nobody reads them here.
    minifyWhitespace: isOfOthers(path),
  })
  await refuseBroadCharacters(path, code)
  return `function (module, exports, require) {\n${code}}`
}

/**
 * The loader reads one byte per character. esbuild escapes what is not ASCII, but for tagged templates, whose raw text it must not change:
 * there it would reach a server or a reader broken.
 */
async function refuseBroadCharacters(path, code) {
  const { code: bare } = await transform(code, { minifyWhitespace: true, legalComments: 'none' })
  const found = /.{0,60}[^\0-\x7f].{0,20}/.exec(bare)
  if (found !== null) throw new Error(`${path}: not ASCII in a tagged template: ${found[0]}; hand it in as a value`)
}

const eager = eagerParts(main)
const here = []
for (const path of eager) here.push(`${JSON.stringify(`./${basename(path)}`)}: ${await asFunction(path)}`)
const texts = new Map([
  [
    'main.cjs',
    readFileSync(new URL('scripts/main-template.cjs', folder), 'utf8').replace('/* parts */', () => here.join(',\n')),
  ],
])
for (const path of Object.keys(outputs).filter((each) => !eager.has(each))) {
  texts.set(`parts/${basename(path, '.js')}.cjs`, `module.exports = ${await asFunction(path)}\n`)
}
rmSync(new URL(partsFolder, folder), { recursive: true })
mkdirSync(new URL(partsFolder, folder))
for (const [name, text] of texts) writeFileSync(new URL(`dist/${name}`, folder), text)

// `inputs` of the metafile name packages.
const bytesOf = (names) => names.reduce((sum, name) => sum + Buffer.byteLength(texts.get(name)), 0)
const bytes = bytesOf(['main.cjs'])
const laterBytes = bytesOf([...texts.keys()].filter((name) => name !== 'main.cjs'))
const everyRun = [...eager].flatMap((path) => Object.keys(outputs[path].inputs))
/** Built-in tasks, by the packages that are imported when they are enabled. */
const tasks = Object.values(outputs).flatMap(
  ({ entryPoint }) => /packages\/task-([\w-]+)\/src\/index\.ts$/.exec(entryPoint ?? '')?.slice(1) ?? [],
)
/** The newest version of the program's own tables: it has one file per migration. */
const schemaVersion = everyRun.filter((file) => /scheduler-core\/src\/state\/migrations\/\d{4}-/.test(file)).length
writeFileSync(
  new URL('dist/meta.json', folder),
  JSON.stringify({ bytes, laterBytes, everyRun, tasks, schemaVersion, parts: parts.metafile }),
)

const packages = new Map()
for (const path of eager) {
  for (const [file, { bytesInOutput }] of Object.entries(outputs[path].inputs)) {
    const name =
      /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? /packages\/[^/]+/.exec(file)?.[0] ?? 'apps/scheduler'
    packages.set(name, (packages.get(name) ?? 0) + bytesInOutput)
  }
}
const kilobytes = (size) => `${(size / 1000).toFixed(0)} kB`
console.log(`dist/main.cjs  ${kilobytes(bytes)}, and ${kilobytes(laterBytes)} in ${texts.size - 1} parts for later`)
for (const [name, size] of [...packages].sort(([, a], [, b]) => b - a).slice(0, 12)) {
  console.log(`  ${kilobytes(size).padStart(7)}  ${name}`)
}
