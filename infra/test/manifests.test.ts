import { execa } from 'execa'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import {
  infra,
  isFolderOfKustomize,
  noRenderer,
  parseManifests,
  problems,
  render,
  resourceFiles,
  type Manifest,
} from './kubernetes.js'

const program = join(infra, '../apps/scheduler/bin/battlescope-scheduler.js')
const base = join(infra, 'k8s')
const foldersBelow = (folder: string) =>
  readdirSync(join(infra, folder))
    .map((name) => join(infra, folder, name))
    .filter(isFolderOfKustomize)
const components = foldersBelow('k8s/components')
const overlays = foldersBelow('k8s-overlays')
const nameOf = (folder: string) => relative(infra, folder)

/** Parts of a CronJob, as these tests look at them. */
interface CronJobSpec {
  readonly schedule: string
  readonly jobTemplate: {
    readonly spec: {
      readonly activeDeadlineSeconds: number
      readonly backoffLimit: number
      readonly podFailurePolicy?: unknown
      readonly template: { readonly spec: PodSpec }
    }
  }
}
interface PodSpec {
  readonly restartPolicy: string
  readonly volumes?: readonly unknown[]
  readonly containers: readonly [Container]
  readonly [field: string]: unknown
}
interface Container {
  readonly args?: readonly string[]
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[]
  readonly volumeMounts?: readonly unknown[]
  readonly [field: string]: unknown
}

const cronJob = (manifests: readonly Manifest[], name = 'scheduler') =>
  manifests.find(({ kind, metadata }) => kind === 'CronJob' && metadata.name === name)!['spec'] as CronJobSpec
const podOf = (spec: CronJobSpec) => spec.jobTemplate.spec.template.spec
const config = (manifests: readonly Manifest[]) =>
  manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'scheduler-config')![
    'data'
  ] as Record<string, string>

describe('the schema', () => {
  const text = readFileSync(join(base, 'scheduler-cronjob.yaml'), 'utf8')
  const planted = (good: string, bad: string, from = text) => {
    expect(from).toContain(good)
    return parseManifests(from.replace(good, bad)).flatMap(problems)
  }

  it('accepts what is right, and says where it comes from', () => {
    expect(parseManifests(text).flatMap(problems)).toEqual([])
    const { $comment } = JSON.parse(readFileSync(join(import.meta.dirname, 'kubernetes.schema.json'), 'utf8'))
    expect($comment).toMatch(/@kubernetes\/client-node \d.*release-1\.\d+/)
  })

  it.each([
    ['a field that does not exist', 'concurrencyPolicy:', 'concurencyPolicy:', /concurencyPolicy/],
    ['a field at the wrong level', '  schedule:', '  restartPolicy: Never\n  schedule:', /restartPolicy/],
    [
      'a misspelt field deep down',
      'allowPrivilegeEscalation:',
      'allowPrivilegeEscalatoin:',
      /allowPrivilegeEscalatoin/,
    ],
    [
      'a value that is none of those allowed',
      'concurrencyPolicy: Forbid',
      'concurrencyPolicy: Forbidden',
      /concurrencyPolicy/,
    ],
    ['a number as text', 'backoffLimit: 0', "backoffLimit: 'none'", /backoffLimit/],
    ['a fraction of a second', 'activeDeadlineSeconds: 240', 'activeDeadlineSeconds: 240.5', /activeDeadlineSeconds/],
    ['an amount that is none', 'memory: 64Mi', 'memory: 64 megabytes', /memory/],
    ['text that YAML takes for a number', "schedule: '*/5 * * * *'", 'schedule: 5', /schedule/],
    ['a field that is missing', "schedule: '*/5 * * * *'", '', /schedule/],
    ['a kind that is unknown', 'kind: CronJob', 'kind: CronJobs', /no such kind/],
    ['an old version of the API', 'batch/v1', 'batch/v1beta1', /no such kind/],
  ])('refuses %s', (_what, good, bad, said) => {
    expect(planted(good, bad).join('\n')).toMatch(said)
  })

  it('refuses a typo in every other kind, too', () => {
    for (const [file, good, bad] of [
      ['k8s/scheduler-networkpolicy.yaml', 'endPort', 'endport'],
      ['k8s/scheduler-config.yaml', '\ndata:', '\ndatas:'],
      [
        'k8s/scheduler-serviceaccount.yaml',
        'automountServiceAccountToken: false',
        'automountServiceAccountToken: nope',
      ],
      ['k8s-overlays/production/scheduler-priorityclass.yaml', 'preemptionPolicy: Never', 'preemptionPolicy: Nevver'],
      ['k8s/components/task-packages/cronjob.yaml', 'pullPolicy', 'pullPolcy'],
    ] as const) {
      expect(planted(good, bad, readFileSync(join(infra, file), 'utf8')), file).not.toEqual([])
    }
  })
})

describe('manifests as they are written', () => {
  it.each([base, ...components, ...overlays].map((folder) => [nameOf(folder), folder]))('%s', (_name, folder) => {
    for (const file of resourceFiles(folder))
      expect(parseManifests(readFileSync(file, 'utf8')).flatMap(problems), file).toEqual([])
  })
})

describe(`manifests as they are rendered${noRenderer}`, () => {
  const made: string[] = []
  /** An overlay as somebody would write one. Inside the repository, because kustomize takes relative paths only. */
  const renderTogether = (resource: string, ...names: readonly string[]) => {
    mkdirSync(join(infra, '.tmp'), { recursive: true })
    const folder = mkdtempSync(join(infra, '.tmp/overlay-'))
    made.push(folder)
    const kustomization = {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: [`../../${resource}`],
      components: names.map((name) => `../../k8s/components/${name}`),
    }
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization))
    return render(folder)
  }
  afterAll(() => {
    for (const folder of made) rmSync(folder, { recursive: true, force: true })
  })

  const everything = noRenderer === '' ? renderEverything() : new Map<string, readonly Manifest[]>()
  function renderEverything() {
    return new Map([
      ...[base, ...overlays].map((folder) => [nameOf(folder), render(folder)] as const),
      ...components.map((folder) => {
        const name = folder.slice(folder.lastIndexOf('/') + 1)
        return [`k8s with ${name}`, renderTogether('k8s', name)] as const
      }),
      [
        'production with everything',
        renderTogether(
          'k8s-overlays/production',
          ...[
            'every-task',
            'egress-store',
            'egress-alerts',
            'egress-database',
            'task-packages',
            'long-run',
            'long-run-reindex',
            'long-run-vacuum',
          ],
        ),
      ] as const,
    ])
  }
  const rendered = (name: string) => everything.get(name)!
  const runs = it.skipIf(noRenderer !== '')

  runs.each([...everything.keys()].map((name) => [name]))(
    '%s: fits the API, in the namespace, and leaves alone what is BattleScope’s',
    (name) => {
      const manifests = rendered(name)
      expect(manifests.length).toBeGreaterThanOrEqual(4)
      expect(manifests.flatMap(problems)).toEqual([])
      for (const { kind, metadata } of manifests) {
        expect(['battlescope-config', 'battlescope-secrets']).not.toContain(metadata.name)
        if (kind !== 'PriorityClass') expect(metadata.namespace).toBe('battlescope')
      }
    },
  )

  runs('the base is the CronJob that was asked for', () => {
    const manifest = rendered('k8s').find(({ kind }) => kind === 'CronJob')!
    expect(manifest).toMatchObject({
      apiVersion: 'batch/v1',
      metadata: { name: 'scheduler', namespace: 'battlescope', labels: { app: 'scheduler' } },
      spec: {
        schedule: '*/5 * * * *',
        timeZone: 'Etc/UTC',
        concurrencyPolicy: 'Forbid',
        successfulJobsHistoryLimit: 3,
        failedJobsHistoryLimit: 3,
        startingDeadlineSeconds: 60,
        jobTemplate: {
          spec: {
            activeDeadlineSeconds: 240,
            backoffLimit: 0,
            template: { metadata: { labels: { app: 'scheduler' } }, spec: { restartPolicy: 'OnFailure' } },
          },
        },
      },
    })
    const [container] = podOf(cronJob(rendered('k8s'))).containers
    expect(container).toMatchObject({
      name: 'scheduler',
      image: 'petdog/battlescope-scheduler:latest',
      env: [{ name: 'LOG_LEVEL', value: 'info' }],
      envFrom: [
        { configMapRef: { name: 'battlescope-config' } },
        { secretRef: { name: 'battlescope-secrets' } },
        { configMapRef: { name: 'scheduler-config' } },
      ],
      resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { cpu: '200m', memory: '256Mi' } },
    })
  })

  runs.each([...everything.keys()].map((name) => [name]))(
    '%s: every pod fits the restricted pod security standard',
    (name) => {
      const jobs = rendered(name).filter(({ kind }) => kind === 'CronJob')
      expect(jobs.length).toBeGreaterThan(0)
      for (const job of jobs) {
        const pod = podOf(job['spec'] as CronJobSpec)
        expect(pod).toMatchObject({
          // The token is for asking for backups: with these components alone, and in the run of every five minutes.
          automountServiceAccountToken: / with backup-(cnpg|job)$/.test(name) && job.metadata.name === 'scheduler',
          enableServiceLinks: false,
          serviceAccountName: 'scheduler',
          securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
        })
        for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod).not.toHaveProperty(field)
        for (const container of pod.containers)
          expect(container).toMatchObject({
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ['ALL'] },
            },
          })
      }
    },
  )

  runs.each([
    ['k8s', '*/5 * * * *', '5m', 300],
    ['k8s-overlays/high-activity', '*/2 * * * *', '2m', 120],
    ['k8s-overlays/low-activity', '*/15 * * * *', '15m', 900],
    ['k8s-overlays/production', '*/5 * * * *', '5m', 300],
    ['k8s-overlays/full', '*/5 * * * *', '5m', 300],
  ])(
    '%s: starts %s, says so to the program, and is over before the next start',
    (name, schedule, interval, seconds) => {
      const spec = cronJob(rendered(name))
      expect(spec.schedule).toBe(schedule)
      expect(config(rendered(name))['SCHEDULER_EXPECTED_INTERVAL']).toBe(interval)
      expect(spec.jobTemplate.spec.activeDeadlineSeconds).toBeLessThan(seconds)
    },
  )

  runs('production tries again what may pass, and nothing that our exit codes say is for a human', () => {
    const { spec } = cronJob(rendered('k8s-overlays/production')).jobTemplate
    expect(spec).toMatchObject({
      backoffLimit: 2,
      podFailurePolicy: {
        rules: [
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          {
            action: 'FailJob',
            onExitCodes: { containerName: 'scheduler', operator: 'In', values: [1, 64, 70, 78, 80] },
          },
        ],
      },
      template: { spec: { restartPolicy: 'Never', priorityClassName: 'battlescope-scheduler' } },
    })
    const names = podOf(cronJob(rendered('k8s-overlays/production'))).containers[0].env.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['DATABASE_URL', 'DATABASE_DIRECT_URL', 'LOG_LEVEL']))
    const codes = readFileSync(join(infra, '../docs/generated/exit-codes.md'), 'utf8')
    for (const code of [1, 64, 70, 78, 80]) expect(codes).toContain(`| ${code} `)
  })

  runs('mounts third-party tasks read-only, and says where', () => {
    const pod = podOf(cronJob(rendered('k8s with task-packages')))
    expect(pod.volumes).toEqual([
      { name: 'task-packages', image: expect.objectContaining({ reference: expect.stringContaining(':') }) },
    ])
    expect(pod.containers[0].volumeMounts).toEqual([
      { name: 'task-packages', mountPath: '/task-packages', readOnly: true },
    ])
    expect(pod.containers[0].env).toContainEqual({ name: 'SCHEDULER_PLUGIN_DIR', value: '/task-packages' })
  })

  runs('lets the scheduler out to where it has to go, and nobody in', () => {
    const policy = rendered('k8s').find(({ kind }) => kind === 'NetworkPolicy')!
    expect(policy).toMatchObject({
      spec: { podSelector: { matchLabels: { app: 'scheduler' } }, policyTypes: ['Ingress', 'Egress'], ingress: [] },
    })
    const { egress } = policy['spec'] as {
      egress: readonly { to: unknown[]; ports: { port: number; endPort?: number }[] }[]
    }
    const allows = (port: number) =>
      egress.some(({ ports }) => ports.some((each) => each.port <= port && port <= (each.endPort ?? each.port)))
    for (const port of [53, 5432, 6379, 4318, 3003]) expect(allows(port), String(port)).toBe(true)
    for (const port of [22, 80, 443]) expect(allows(port), String(port)).toBe(false)
    for (const name of ['egress-alerts', 'egress-store']) {
      const more = rendered(`k8s with ${name}`).find(({ metadata }) => metadata.name === `scheduler-${name}`)
      expect(JSON.stringify(more)).toContain('"port":443')
    }
  })

  runs.each([...everything.keys()].map((name) => [name]))(
    '%s: the program accepts what the ConfigMap and the pod say',
    async (name) => {
      const manifests = rendered(name)
      for (const job of manifests.filter(({ kind }) => kind === 'CronJob')) {
        const [container] = podOf(job['spec'] as CronJobSpec).containers
        const literal = container.env.flatMap(({ name: key, value }) => (value === undefined ? [] : [[key, value]]))
        const secrets = container.env.flatMap(({ name: key, valueFrom }) =>
          valueFrom ? [[key, 'postgres://u:p@h/d']] : [],
        )
        const environment = { ...config(manifests), ...Object.fromEntries([...literal, ...secrets]) } as Record<
          string,
          string
        >
        // A folder that is not on this machine.
        delete environment['SCHEDULER_PLUGIN_DIR']
        const { stdout } = await execa(process.execPath, [program, 'config', '--json'], {
          env: { DATABASE_URL: 'postgres://u:p@h/d', ...environment },
          extendEnv: false,
        })
        const printed = JSON.parse(stdout) as { options: { path: string; value: unknown; source: string }[] }
        const option = (path: string) => printed.options.find((each) => each.path === path)
        expect(option('tasks')).toMatchObject({ value: environment['SCHEDULER_TASKS']!.split(',') })
        expect(option('expectedInterval')).toMatchObject({ value: environment['SCHEDULER_EXPECTED_INTERVAL'] })
      }
    },
  )

  runs('has every task on that destroys nothing, and with every-task all of them', async () => {
    const tasks = (name: string) => config(rendered(name))['SCHEDULER_TASKS']!.split(',').sort()
    const known = JSON.parse(
      (await execa(process.execPath, [program, 'config', 'schema'], { env: {}, extendEnv: false })).stdout,
    ) as { properties: Record<string, { properties?: Record<string, unknown> }> }
    // Every task has a section, and sections of tasks have a schedule.
    const builtIn = Object.keys(known.properties).filter(
      (name) => known.properties[name]?.properties?.['schedule'] !== undefined,
    )
    expect(builtIn.length).toBeGreaterThanOrEqual(5)
    expect(tasks('k8s-overlays/full')).toEqual(builtIn.sort())
    const notInBase = ['retention', 'vacuum', 'reindex', 'backup']
    expect(tasks('k8s')).toEqual(builtIn.filter((name) => !notInBase.includes(name)))
  })

  runs.each([
    ['long-run', 'scheduler-long-run', 'retention'],
    ['long-run-reindex', 'scheduler-long-run-reindex', 'reindex'],
    ['long-run-vacuum', 'scheduler-long-run-vacuum', 'vacuum'],
    ['backup-dump', 'scheduler-backup', 'backup'],
  ])('gives %s a task that is on, and limits that fit each other', (component, name, task) => {
    const spec = cronJob(rendered(`k8s with ${component}`), name)
    const [{ args, env }] = podOf(spec).containers
    expect(args).toEqual(['run', '--task', task, '--force', '--budget', '30m', '--grace', '30s'])
    expect(env).toContainEqual({ name: 'SCHEDULER_TASKS', value: task })
    expect(spec.jobTemplate.spec.activeDeadlineSeconds).toBeGreaterThan(30 * 60 + 30)
  })
})

it('comments every line of configuration', () => {
  for (const file of ['k8s/scheduler-config.yaml', 'k8s/components/every-task/scheduler-config.yaml']) {
    const lines = readFileSync(join(infra, file), 'utf8').split('\n')
    const options = lines.flatMap((line, index) => (/^ {2}(SCHEDULER|OTEL)_/.test(line) ? [index] : []))
    expect(options.length).toBeGreaterThan(4)
    // SCHEDULER_GRACE stands with SCHEDULER_BUDGET, whose comment is about both.
    for (const index of options)
      if (!lines[index]!.includes('SCHEDULER_GRACE'))
        expect(lines[index - 1], `${file}:${index + 1}`).toMatch(/^ {2}# /)
    expect(Object.keys((parse(lines.join('\n')) as { data: object }).data)).toHaveLength(options.length)
  }
})
