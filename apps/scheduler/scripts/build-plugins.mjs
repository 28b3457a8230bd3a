/** What the bundle leaves out or edits, each with its reason. A package that changed so that a rule no longer fits fails the build. */
import { readFileSync } from 'node:fs'

/**
 * Packages that nobody can configure here, with the names that their importers use. Constructing one says that it is not in this build.
 * A package without names is optional to its importer, which catches the error of require().
 */
const absent = {
  'pg-native': [],
  'pg-cloudflare': [],
  '@opentelemetry/exporter-logs-otlp-grpc': ['OTLPLogExporter'],
  '@opentelemetry/exporter-logs-otlp-http': ['OTLPLogExporter'],
  '@opentelemetry/exporter-logs-otlp-proto': ['OTLPLogExporter'],
  '@opentelemetry/exporter-metrics-otlp-grpc': ['OTLPMetricExporter'],
  '@opentelemetry/exporter-metrics-otlp-http': ['OTLPMetricExporter'],
  '@opentelemetry/exporter-metrics-otlp-proto': ['OTLPMetricExporter'],
  '@opentelemetry/exporter-prometheus': ['PrometheusExporter'],
  '@opentelemetry/exporter-trace-otlp-grpc': ['OTLPTraceExporter'],
  '@opentelemetry/exporter-zipkin': ['ZipkinExporter'],
  '@opentelemetry/propagator-b3': ['B3Propagator', 'B3InjectEncoding'],
  '@opentelemetry/propagator-jaeger': ['JaegerPropagator'],
  '@opentelemetry/sdk-metrics': ['MeterProvider', 'PeriodicExportingMetricReader', 'ConsoleMetricExporter'],
}
/** Left out only where this importer asks for it. */
const absentFor = {
  '@opentelemetry/sdk-metrics': /[\\/]sdk-node[\\/]/,
  '@opentelemetry/exporter-metrics-otlp-http': /[\\/]sdk-node[\\/]/,
  '@opentelemetry/exporter-metrics-otlp-proto': /[\\/]sdk-node[\\/]/,
}

export const notInThisBuild = {
  name: 'not-in-this-build',
  setup(bundle) {
    bundle.onResolve({ filter: /^(pg-|@opentelemetry\/)/ }, ({ path, importer }) =>
      Object.hasOwn(absent, path) && (absentFor[path]?.test(importer) ?? true)
        ? { path, namespace: 'absent' }
        : undefined,
    )
    bundle.onLoad({ filter: /.*/, namespace: 'absent' }, ({ path }) => {
      const message = JSON.stringify(`${path} is not in this build of the scheduler`)
      if (absent[path].length === 0) return { contents: `throw new Error(${message})` }
      const refusal = `constructor() { throw new Error(${message}) }`
      return { contents: absent[path].map((name) => `export class ${name} { ${refusal} }`).join('\n') }
    })
  },
}

/**
 * Of a CommonJS package that is imported dynamically only the default export arrives: its names are known to static imports alone.
 * So a module of ours imports the package statically, and is itself imported dynamically. Packages of this repository are ESM.
 */
export const packagesAreImportedStatically = {
  name: 'packages-are-imported-statically',
  setup(bundle) {
    bundle.onResolve({ filter: /^[^./#]/ }, ({ path, kind, importer }) =>
      kind === 'dynamic-import' && !/^(node:|@battlescope\/)/.test(path) && !/[\\/]node_modules[\\/]/.test(importer)
        ? {
            errors: [
              { text: `import('${path}') in ${importer}: import() a module of ours that imports '${path}' statically` },
            ],
          }
        : undefined,
    )
  },
}

/** What pg asks of its own `crypto/utils`, for passwords and channel binding. */
const passwordFunctions = {
  randomBytes: 'randomBytes',
  md5: 'async (text) => md5(text)',
  postgresMd5PasswordHash:
    "async (user, password, salt) => 'md5' + md5(Buffer.concat([Buffer.from(md5(password + user)), salt]))",
  sha256: "async (data) => createHash('sha256').update(data).digest()",
  hashByName: "async (name, data) => createHash(name.replace('-', '')).update(data).digest()",
  hmacSha256: "async (key, text) => createHmac('sha256', key).update(text).digest()",
  deriveKey: "async (password, salt, iterations) => pbkdf2Sync(password, salt, iterations, 32, 'sha256')",
}

const edits = [
  {
    // NodeSDK alone: the other entry point reads YAML.
    file: /[\\/]sdk-node[\\/]build[\\/]src[\\/]index\.js$/,
    load: () => `export { NodeSDK } from './sdk.js'`,
  },
  {
    // These two are published as CommonJS alone, and what they require would come in whole.
    file: /[\\/](sdk-node[\\/]build[\\/]src[\\/](sdk|utils|create-from-env)|context-async-hooks[\\/]build[\\/]src[\\/]\w+)\.js$/,
    load: asEsm,
  },
  {
    // Nothing can be patched inside a bundle.
    file: /@opentelemetry[\\/]instrumentation[\\/]build[\\/](src|esm)[\\/]index\.js$/,
    load: () => `export const registerInstrumentations = () => () => undefined`,
  },
  {
    // NodeSDK makes a logger provider even for an empty list of processors.
    file: /@opentelemetry[\\/]sdk-logs[\\/]build[\\/](src|esm)[\\/]index\.js$/,
    load: () => `
      export class LoggerProvider {
        getLogger() { return { emit() {}, enabled: () => false } }
        async forceFlush() {}
        async shutdown() {}
      }
      const refuse = () => { throw new Error('log exporters are not in this build of the scheduler') }
      export class ConsoleLogRecordExporter { constructor() { refuse() } }
      export class SimpleLogRecordProcessor { constructor() { refuse() } }
      export class BatchLogRecordProcessor { constructor() { refuse() } }`,
  },
  {
    // pg asks whether it runs on Cloudflare by making a Response, for which Node loads its whole fetch.
    file: /[\\/]pg[\\/]lib[\\/]stream\.js$/,
    load: (source) => replaceOnce(source, "typeof Response === 'function'", 'false'),
  },
  {
    // The same functions by node:crypto, which is loaded anyway: pg's own evaluate all of Web Crypto.
    file: /[\\/]pg[\\/]lib[\\/]crypto[\\/]utils\.js$/,
    load: (source) => {
      for (const name of Object.keys(passwordFunctions))
        if (!source.includes(`function ${name}(`))
          throw new Error(`pg has no ${name}() any more: look at this edit again`)
      return `
        const { createHash, createHmac, pbkdf2Sync, randomBytes } = require('node:crypto')
        const md5 = (data) => createHash('md5').update(data).digest('hex')
        module.exports = { ${Object.entries(passwordFunctions)
          .map((pair) => pair.join(': '))
          .join(', ')} }`
    },
  },
  {
    // One assertion, for which Node loads a module of its own.
    file: /[\\/]sonic-boom[\\/]index\.js$/,
    load: (source) =>
      replaceOnce(source, `require('assert')`, `(condition, message) => { if (!condition) throw new Error(message) }`),
  },
  {
    // It asks whether it runs in a worker thread, and no logger does.
    file: /[\\/]pino[\\/]lib[\\/]tools\.js$/,
    load: (source) => replaceOnce(source, `require('worker_threads')`, `{ isMainThread: true }`),
  },
  {
    // Logs are written by this thread: transports, and the worker threads that they would start, are never asked for.
    file: /[\\/]pino[\\/]lib[\\/]transport\.js$/,
    load: () => `module.exports = () => { throw new Error('transports are not in this build of the scheduler') }`,
  },
  {
    // It writes and compiles a function for each object it checks. A run checks most of them once: a twelfth of a run in which health looks.
    file: /[\\/]zod[\\/]v4[\\/]core[\\/]core\.js$/,
    load: (source) =>
      replaceOnce(source, '(_a.__zod_globalConfig = {})', '(_a.__zod_globalConfig = { jitless: true })'),
  },
  {
    // Messages in forty languages.
    file: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/,
    load: () => `export { default as en } from './en.js'`,
  },
]

export const editPackages = {
  name: 'edit-packages',
  setup(bundle) {
    const used = new Set()
    for (const { file, load } of edits) {
      bundle.onLoad({ filter: file }, ({ path }) => {
        used.add(file)
        return { contents: load(readFileSync(path, 'utf8'), path) }
      })
    }
    bundle.onEnd(() => ({
      errors: edits
        .filter(({ file }) => !used.has(file))
        .map(({ file }) => ({ text: `no file matched ${file}: the package has changed, look at this edit again` })),
    }))
  },
}

/** Turns the CommonJS that TypeScript writes back into ESM, so that unused parts of what it imports can be left out. */
function asEsm(source, path) {
  const esm = source
    .replace(/^"use strict";$/m, '')
    .replace(/^Object\.defineProperty\(exports, "__esModule".*$/m, '')
    .replace(/^(exports\.\w+ = )+void 0;$/m, '')
    .replace(/^Object\.defineProperty\(exports, "(\w+)", .*return (\w+)\.\w+; \} \}\);$/gm, 'export const $1 = $2.$1;')
    .replace(/^(?:const|var) (\w+) = require\("([^"]+)"\);$/gm, 'import * as $1 from "$2";')
    .replace(/^exports\.(\w+) = \1;$/gm, 'export { $1 };')
  if (/\b(exports|require)\b\s*[.(]/.test(esm)) {
    throw new Error(`${path}: not the CommonJS that TypeScript writes; the package has changed, look at asEsm again`)
  }
  return esm
}

/**
 * `import { z }` is an object of everything that zod has. As a namespace esbuild knows what of it is used, and leaves out the rest: readers of
 * JSON Schema, compilers, dates.
 */
export const zodByName = {
  name: 'zod-by-name',
  setup(bundle) {
    bundle.onLoad({ filter: /[\\/](packages|apps)[\\/][\w-]+[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8')
      const contents = source.replace(/^import \{ z \} from 'zod'$/m, "import * as z from 'zod'")
      return contents === source ? undefined : { contents, loader: 'ts' }
    })
  },
}

function replaceOnce(source, from, to) {
  if (source.split(from).length !== 2) {
    throw new Error(`not found once: ${from}; the package has changed, look at this edit again`)
  }
  return source.replace(from, to)
}
