/** The compose file and the files that it mounts. */
import { Ajv, type AnySchema } from 'ajv'
import addFormats from 'ajv-formats'
import { execaSync } from 'execa'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { repository } from './docker.js'

const folder = join(repository, 'docker')
const file = join(folder, 'compose.yaml')
const text = readFileSync(file, 'utf8')

interface Compose {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly build?: {
          readonly context: string
          readonly dockerfile: string
          readonly args: Record<string, string>
        }
        readonly environment?: Readonly<Record<string, string>>
        readonly volumes?: readonly string[]
      }
    >
  >
}

/** The Compose Specification's own schema, which the package ships. */
function schemaProblems(compose: unknown): readonly string[] {
  const require = createRequire(import.meta.url)
  const path = join(dirname(require.resolve('docker-compose/package.json')), 'schema/compose-spec.json')
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  // Its $schema is draft-07 with https, which Ajv knows by http alone.
  const { $schema: _draft, ...schema } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  const validate = ajv.compile(schema as AnySchema)
  void validate(compose)
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  )
}

const hasCompose = execaSync('docker', ['compose', 'version'], { reject: false }).exitCode === 0
const noCompose = hasCompose ? '' : ' (skipped: docker compose is not installed; install the Docker Compose plug-in)'

describe('the compose file', () => {
  it('fits the Compose Specification', () => {
    expect(schemaProblems(parse(text))).toEqual([])
  })

  it.each([
    ['an unknown field', 'mem_limit:', 'memory_limit:'],
    ['a wrong value', 'read_only: true', 'read_only: [yes]'],
  ])('would be refused with %s', (_what, good, bad) => {
    expect(text).toContain(good)
    expect(schemaProblems(parse(text.replace(good, bad)))).not.toEqual([])
  })

  it.skipIf(!hasCompose)(`is accepted by docker compose config${noCompose}`, () => {
    const { exitCode, stderr } = execaSync('docker', ['compose', '--file', file, 'config', '--quiet'], {
      reject: false,
    })
    expect([exitCode, stderr]).toEqual([0, ''])
  })

  it('builds the image as the documentation does, and mounts files that are there', () => {
    const { services } = parse(text) as Compose
    const { build } = services['scheduler']!
    expect(build?.args).toEqual({ SERVICE_SCOPE: '@battlescope/scheduler', BUILD_TARGET: 'apps/scheduler' })
    expect(existsSync(join(folder, build!.context, build!.dockerfile))).toBe(true)
    const mounted = Object.values(services).flatMap(({ volumes = [] }) =>
      volumes.filter((each) => each.startsWith('.')),
    )
    expect(mounted.length).toBeGreaterThan(1)
    for (const each of mounted) expect(existsSync(join(folder, each.split(':')[0]!)), each).toBe(true)
  })

  it('names only options that the scheduler has', () => {
    const { services } = parse(text) as Compose
    const known = readFileSync(join(repository, 'docs/generated/environment.md'), 'utf8')
    for (const name of Object.keys(services['scheduler']!.environment!)) expect(known).toContain(`| \`${name}\` `)
  })

  it("sends telemetry to the collector's own port, by a pipeline that ends somewhere", () => {
    const collector = parse(readFileSync(join(folder, 'collector.yaml'), 'utf8')) as {
      receivers: { otlp: { protocols: { http: { endpoint: string } } } }
      service: { pipelines: Record<string, Record<'receivers' | 'processors' | 'exporters', string[]>> }
    } & Record<'receivers' | 'processors' | 'exporters', Record<string, unknown>>
    expect(collector.receivers.otlp.protocols.http.endpoint).toBe('0.0.0.0:4318')
    for (const pipeline of Object.values(collector.service.pipelines)) {
      for (const kind of ['receivers', 'processors', 'exporters'] as const)
        for (const name of pipeline[kind]) expect(collector[kind]).toHaveProperty(name)
    }
  })
})
