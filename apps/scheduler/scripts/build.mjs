/**
 * Builds the program: one CommonJS bundle, because V8's code cache works with scripts alone, whose rarely used parts are evaluated only
 * when a run reaches them.
 *
 * Two passes, because esbuild splits only ESM: in a single CommonJS pass every module that lies behind an `import()` comes in whole, and
 * with it everything that it shares with the rest. So the first pass splits and leaves out what is unused, and the second joins the
 * parts into one file, where `import('./part.js')` becomes the evaluation of that part.
 *
 * No `import()` is left in the output: a script that runs from a code cache cannot call it, and an exporter that tried would lose its
 * spans without a word. Third-party packages are imported by the loader in `bin/`, which hands in its own `import`.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { editPackages, notInThisBuild, packagesAreImportedStatically } from './build-plugins.mjs'

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
  plugins: [packagesAreImportedStatically, notInThisBuild, editPackages],
})

const program = await build({
  ...common,
  entryPoints: [`${partsFolder}/main.js`],
  outfile: 'dist/main.cjs',
  format: 'cjs',
  supported: { 'dynamic-import': false },
  legalComments: 'linked',
  metafile: true,
})

rmSync(new URL(partsFolder, folder), { recursive: true })
// `inputs` of the first pass name packages; the size is the second's.
const { bytes } = program.metafile.outputs['dist/main.cjs']
writeFileSync(new URL('dist/meta.json', folder), JSON.stringify({ bytes, parts: parts.metafile }))

const packages = new Map()
for (const output of Object.values(parts.metafile.outputs)) {
  for (const [file, { bytesInOutput }] of Object.entries(output.inputs)) {
    const name =
      /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? /packages\/[^/]+/.exec(file)?.[0] ?? 'apps/scheduler'
    packages.set(name, (packages.get(name) ?? 0) + bytesInOutput)
  }
}
const kilobytes = (size) => `${(size / 1000).toFixed(0)} kB`
console.log(`dist/main.cjs  ${kilobytes(bytes)}`)
for (const [name, size] of [...packages].sort(([, a], [, b]) => b - a).slice(0, 12)) {
  console.log(`  ${kilobytes(size).padStart(7)}  ${name}`)
}
