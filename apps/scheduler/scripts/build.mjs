/**
 * Builds the program: one CommonJS bundle. CommonJS, because esbuild splits only ESM, while a `import()` inside a CommonJS bundle is
 * evaluated when it is reached: what a run does not use costs nothing but its size.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'

const folder = new URL('..', import.meta.url)
const { version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8'))

/** What nobody configured, and what Node does not have: named here, so that its absence has words. */
const absent = [
  /^pg-native$/,
  /^pg-cloudflare$/,
  /^@grpc\//,
  /^@opentelemetry\/(exporter-.*-grpc|otlp-grpc-exporter-base)$/,
  /^@opentelemetry\/exporter-(zipkin|prometheus|jaeger)$/,
  /^@opentelemetry\/exporter-(metrics|logs)-otlp-(http|proto)$/,
  /^@opentelemetry\/propagator-(b3|jaeger)$/,
  /^@opentelemetry\/configuration$/,
  /^@opentelemetry\/instrumentation$/,
]

const notInThisBuild = {
  name: 'not-in-this-build',
  setup(bundle) {
    for (const filter of absent) {
      bundle.onResolve({ filter }, ({ path }) => ({ path, namespace: 'absent' }))
    }
    bundle.onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => ({
      loader: 'js',
      contents: `
        const refuse = () => { throw new Error(${JSON.stringify(`${path} is not in this build of the scheduler`)}) }
        // Named imports are read when a module is evaluated, long before anything uses them: refuse at the use.
        module.exports = new Proxy({}, { get: (_, name) => name === '__esModule' ? true : class { constructor() { refuse() } static create() { return refuse() } } })
      `,
    }))
  },
}

const result = await build({
  absWorkingDir: folder.pathname,
  entryPoints: ['src/main.ts'],
  outfile: 'dist/main.cjs',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  mainFields: ['module', 'main'],
  conditions: ['@battlescope/source'],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  metafile: true,
  // pg asks whether it runs on Cloudflare by touching Response, which makes Node load its whole fetch.
  define: { VERSION: JSON.stringify(version), Response: 'undefined' },
  plugins: [notInThisBuild],
  logLevel: 'warning',
})
writeFileSync(new URL('dist/meta.json', folder), JSON.stringify(result.metafile))
