/**
 * OpenTelemetry's own variables that work in this program. OpenTelemetry reads more of them, but traces and metrics over OTLP/HTTP are all that is in this build;
 * what stands here is tested. https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export interface StandardVariable {
  readonly name: string
  readonly meaning: string
}

/** The same variable exists for one signal. */
const ofOneSignal = (name: (signal: 'TRACES' | 'METRICS') => string): readonly StandardVariable[] => [
  { name: name('TRACES'), meaning: 'For traces alone; wins over the variable without TRACES.' },
  { name: name('METRICS'), meaning: 'For metrics alone; wins over the variable without METRICS.' },
]

export const standardVariables: readonly StandardVariable[] = [
  {
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    meaning:
      'Collector, such as http://otel-collector:4318. Telemetry is on when this or one of the next two is set; it goes to /v1/traces and /v1/metrics below it.',
  },
  {
    name: 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    meaning: 'Whole URL that traces are sent to; wins over the variable without TRACES.',
  },
  {
    name: 'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
    meaning: 'Whole URL that metrics are sent to; wins over the variable without METRICS.',
  },
  { name: 'OTEL_SDK_DISABLED', meaning: 'true turns telemetry off.' },
  { name: 'OTEL_TRACES_EXPORTER', meaning: 'otlp (default), or none, which turns traces off.' },
  { name: 'OTEL_METRICS_EXPORTER', meaning: 'otlp (default), or none, which turns metrics off.' },
  {
    name: 'OTEL_EXPORTER_OTLP_PROTOCOL',
    meaning: 'http/protobuf (default) or http/json. gRPC is not in this build.',
  },
  ...ofOneSignal((signal) => `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`),
  { name: 'OTEL_EXPORTER_OTLP_HEADERS', meaning: 'Headers of each request: name=value,name=value, percent-encoded.' },
  ...ofOneSignal((signal) => `OTEL_EXPORTER_OTLP_${signal}_HEADERS`),
  { name: 'OTEL_EXPORTER_OTLP_COMPRESSION', meaning: 'gzip or none (default).' },
  ...ofOneSignal((signal) => `OTEL_EXPORTER_OTLP_${signal}_COMPRESSION`),
  {
    name: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    meaning:
      'Milliseconds for one export (default 10000). What is left at the end of a run gets 5 s whatever this says.',
  },
  ...ofOneSignal((signal) => `OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`),
  { name: 'OTEL_SERVICE_NAME', meaning: 'Service name. Default: battlescope-scheduler.' },
  { name: 'OTEL_RESOURCE_ATTRIBUTES', meaning: 'Attributes of the resource: key=value,key=value, percent-encoded.' },
  {
    name: 'OTEL_TRACES_SAMPLER',
    meaning: 'always_on, always_off, traceidratio, or with the prefix parentbased_ (default parentbased_always_on).',
  },
  { name: 'OTEL_TRACES_SAMPLER_ARG', meaning: 'Share of traces for traceidratio, from 0 to 1.' },
  {
    name: 'TRACEPARENT',
    meaning: 'W3C trace context of whoever starts the process: the run becomes a part of that trace.',
  },
]
