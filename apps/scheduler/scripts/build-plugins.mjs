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
    // Logs are written by this thread: transports, and the worker threads that they would start, are never asked for.
    file: /[\\/]pino[\\/]lib[\\/]transport\.js$/,
    load: () => `module.exports = () => { throw new Error('transports are not in this build of the scheduler') }`,
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

function replaceOnce(source, from, to) {
  if (source.split(from).length !== 2) {
    throw new Error(`not found once: ${from}; the package has changed, look at this edit again`)
  }
  return source.replace(from, to)
}
