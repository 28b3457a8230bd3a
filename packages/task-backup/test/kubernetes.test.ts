import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isOurs, jobObject, sightingOf, slotAnnotation, templateAnnotation } from '../src/kubernetes-objects.js'
import { ApiServer, noOpenSsl, rulesOf, type Rule } from './api-server.js'
import { createWorld, type World } from './world.js'

const cronJob = {
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name: 'scheduler-dump' },
  spec: {
    schedule: '0 0 31 2 *',
    suspend: true,
    jobTemplate: {
      metadata: { labels: { app: 'dump' }, annotations: { who: 'us' } },
      spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'dump', image: 'dump:1' }] } } },
    },
  },
}

describe.skipIf(noOpenSsl !== '')(`the driver kubernetes${noOpenSsl}`, () => {
  let world: World
  let api: ApiServer
  beforeEach(async () => {
    api = await ApiServer.start()
    world = await createWorld({
      driver: 'kubernetes',
      cluster: 'main',
      apiServer: api.url,
      serviceAccountFolder: api.serviceAccountFolder,
    })
    // What the manifests grant, and nothing else.
    api.rules = rulesOf('backup-cnpg')
  })
  afterEach(async () => {
    await world.close()
    await api.stop()
  })

  const states = async () => (await world.rows()).map(({ state }) => state)
  /** No right that is not used, either. */
  const granted = (rules: readonly Rule[]) => new Set(rules.map(({ verb, resource }) => `${verb} ${resource}`))

  it('makes a Backup, waits for it in later runs, and records how it ended', async () => {
    const run = await world.run({
      config: { backupMethod: 'plugin', backupPlugin: 'barman.example', backupTarget: 'prefer-standby' },
    })
    expect(run).toMatchObject({ outcome: 'partial', remaining: 1, findings: [] })
    const made = api.only()
    expect(made).toMatchObject({
      apiVersion: 'postgresql.cnpg.io/v1',
      kind: 'Backup',
      spec: {
        cluster: { name: 'main' },
        method: 'plugin',
        pluginConfiguration: { name: 'barman.example' },
        target: 'prefer-standby',
      },
    })
    expect(await states()).toEqual(['running'])

    made['status'] = { phase: 'running', startedAt: '2026-11-23T03:00:05Z' }
    // A run that looks makes nothing.
    expect(await world.run({ config: { stuckAfter: '900000h' } })).toMatchObject({ outcome: 'partial' })
    expect(api.objects.size).toBe(1)

    made['status'] = {
      phase: 'completed',
      startedAt: '2026-11-23T03:00:05Z',
      stoppedAt: '2026-11-23T03:09:00Z',
      destinationPath: 's3://bucket/main/',
      backupId: '20261123T030005',
    }
    await world.run({ config: { minAge: '900000h' } })
    expect(await world.rows()).toMatchObject([
      {
        state: 'succeeded',
        started_at: new Date('2026-11-23T03:00:05Z'),
        finished_at: new Date('2026-11-23T03:09:00Z'),
        location: 's3://bucket/main/20261123T030005',
      },
    ])
    expect(new Set(api.seen)).toEqual(granted(api.rules))
  })

  it('adopts what it made when the answer was lost', async () => {
    api.dropsNextAnswer = true
    // A broken connection is tried again within the run.
    expect(await world.run()).toMatchObject({ outcome: 'partial' })
    expect(await states()).toEqual(['running'])
    expect(api.objects.size).toBe(1)
    expect(api.seen).toEqual(['create backups', 'create backups', 'get backups'])
  })

  /** The next run finds what one leaves that was killed between the answer and the row. */
  const forgetAnswer = () => world.database.query(`UPDATE scheduler.backup SET state = 'announced', started_at = NULL`)

  it('adopts what a run made that was killed before it could write that down', async () => {
    await world.run()
    await forgetAnswer()
    api.only()['status'] = { phase: 'completed' }
    await world.run({ config: { minAge: '6h' } })
    expect(await states()).toEqual(['succeeded'])
    expect(api.objects.size).toBe(1)
  })

  it.each([
    ['of another slot', { metadata: { name: 'x', annotations: { [slotAnnotation]: 'backup@other' } } }],
    ['of another Cluster', { spec: { cluster: { name: 'other' } } }],
  ])('adopts nothing %s', async (_what, change) => {
    await world.run()
    await forgetAnswer()
    Object.assign(api.only(), change)
    const reason = expect.stringContaining('namePrefix') as string
    expect(await world.run()).toMatchObject({ outcome: 'failed', errorCode: 'name-taken', reason })
    expect(await states()).toEqual(['announced'])
  })

  it('that failed is a finding, and is tried again under another name', async () => {
    await world.run()
    api.only()['status'] = { phase: 'failed', error: 'no space left' }
    const run = await world.run({ config: { attempts: 1 } })
    expect((await world.rows())[0]).toMatchObject({ state: 'failed', message: 'no space left' })
    expect(run.findings.map(({ key }) => key)).toContain('failed')
    expect(api.objects.size).toBe(2)
  })

  it('that is gone is told from one that failed', async () => {
    await world.run()
    api.objects.clear()
    const run = await world.run()
    expect((await states())[0]).toBe('vanished')
    expect(run.findings.map(({ key }) => key)).toContain('vanished')
  })

  it('that takes too long is reported, no longer waited for, and still looked at', async () => {
    await world.run()
    const made = api.only()
    await world.database.query(
      `UPDATE scheduler.backup SET started_at = now() - interval '7 hours', announced_at = now() - interval '7 hours'`,
    )
    const run = await world.run()
    expect(run.findings.map(({ key }) => key)).toEqual(['never-succeeded', 'in-progress-too-long'])
    expect(await states()).toEqual(['overdue', 'running'])
    made['status'] = { phase: 'completed' }
    await world.run()
    expect((await states())[0]).toBe('succeeded')
  })

  it('is not taken for gone when nobody could look', async () => {
    await world.run()
    api.rules = [{ verb: 'create', resource: 'backups' }]
    const run = await world.run()
    expect(run.findings).toMatchObject([
      { key: 'not-seen', summary: expect.stringContaining('the verb get on backups.postgresql.cnpg.io') as string },
    ])
    api.kinds = []
    expect((await world.run()).findings.map(({ key }) => key)).toEqual(['not-seen'])
    expect(await states()).toEqual(['running'])
  })

  it.each([
    ['http-401', () => api.writeToken('expired'), 'token'],
    ['http-403', () => (api.rules = []), 'the verb create on backups.postgresql.cnpg.io'],
    ['http-404', () => (api.kinds = []), 'CloudNativePG'],
  ])('fails with %s and says what to do', async (code, spoil, hint) => {
    spoil()
    expect(await world.run()).toMatchObject({
      outcome: 'failed',
      errorCode: code,
      reason: expect.stringContaining(hint) as string,
    })
    expect(await states()).toEqual(['announced'])
  })

  it('trusts the authority of its service account alone', async () => {
    const other = await ApiServer.start()
    try {
      writeFileSync(join(api.serviceAccountFolder, 'ca.crt'), '')
      const spoiled = join(other.serviceAccountFolder, 'ca.crt')
      const run = await world.run({ config: { serviceAccountFolder: join(spoiled, '..') } })
      expect(run).toMatchObject({ outcome: 'failed', errorCode: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
      expect(api.seen).toEqual([])
    } finally {
      await other.stop()
    }
  })

  it('says that there is no service account', async () => {
    const run = await world.run({ config: { serviceAccountFolder: '/nonexistent' } })
    expect(run).toMatchObject({
      errorCode: 'no-service-account',
      reason: expect.stringContaining('automountServiceAccountToken') as string,
    })
  })

  describe('with Jobs', () => {
    beforeEach(() => {
      api.rules = rulesOf('backup-job')
    })

    it('makes one as the CronJob would, and reads its conditions', async () => {
      api.objects.set('cronjobs/scheduler-dump', cronJob)
      const change = { kubernetesObject: 'cronjob', cronJob: 'scheduler-dump' }
      expect(await world.run({ config: change })).toMatchObject({ outcome: 'partial' })
      const [key, job] = [...api.objects].find(([name]) => name.startsWith('jobs/')) ?? []
      expect(key).toMatch(/^jobs\/backup-\d{4}-/)
      expect(job).toMatchObject({
        kind: 'Job',
        metadata: {
          labels: { app: 'dump' },
          annotations: { who: 'us', 'cronjob.kubernetes.io/instantiate': 'manual' },
        },
        spec: cronJob.spec.jobTemplate.spec,
      })
      job!['status'] = {
        conditions: [{ type: 'Complete', status: 'True' }],
        startTime: '2026-11-23T03:00:00Z',
        completionTime: '2026-11-23T03:01:00Z',
      }
      await world.run({ config: { ...change, minAge: '900000h' } })
      expect(await states()).toEqual(['succeeded'])
      expect(new Set(api.seen)).toEqual(granted(api.rules))
    })

    it('adopts its own, and none that another scheduler made of another CronJob in the same slot', async () => {
      api.objects.set('cronjobs/scheduler-dump', cronJob)
      const change = { kubernetesObject: 'cronjob', cronJob: 'scheduler-dump' }
      await world.run({ config: change })
      await forgetAnswer()
      expect(await world.run({ config: change })).toMatchObject({ outcome: 'partial' })
      expect(await states()).toEqual(['running'])
      await forgetAnswer()
      const [, job] = [...api.objects].find(([name]) => name.startsWith('jobs/')) ?? []
      const { metadata } = job as unknown as { metadata: { annotations: Record<string, string> } }
      metadata.annotations[templateAnnotation] = 'CronJob/other-dump'
      const reason = expect.stringContaining('namePrefix') as string
      expect(await world.run({ config: change })).toMatchObject({ errorCode: 'name-taken', reason })
      expect(await states()).toEqual(['announced'])
    })

    it('makes one from a file', async () => {
      const file = join(api.serviceAccountFolder, 'job.yaml')
      writeFileSync(
        file,
        'kind: Job\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{ name: dump, image: "dump:1" }]\n',
      )
      expect(await world.run({ config: { kubernetesObject: 'job-file', jobFile: file } })).toMatchObject({
        outcome: 'partial',
      })
      expect(api.only()).toMatchObject({ apiVersion: 'batch/v1', kind: 'Job' })
    })

    it('has the API refuse what is no Job', async () => {
      const file = join(api.serviceAccountFolder, 'job.yaml')
      writeFileSync(file, 'kind: Job\nspec: { templates: {} }\n')
      const change = { kubernetesObject: 'job-file', jobFile: file }
      expect(await world.run({ config: change })).toMatchObject({ outcome: 'failed', errorCode: 'http-422' })
      writeFileSync(file, 'kind: Deployment\n')
      expect(await world.run({ config: change })).toMatchObject({ errorCode: 'job-template-unfit' })
      expect(await world.run({ config: { ...change, jobFile: '/nonexistent' } })).toMatchObject({
        errorCode: 'job-template-missing',
      })
    })
  })
})

describe('sightingOf', () => {
  it.each(['', 'pending', 'started', 'running', 'finalizing', 'walArchivingFailing', 'something new'])(
    'takes a Backup in phase "%s" for one that runs',
    (phase) => {
      expect(sightingOf({ kind: 'Backup', status: { phase } }).state).toBe('running')
    },
  )

  it('reads conditions of Jobs that hold, and no others', () => {
    const job = (type: string, status: string) => ({
      kind: 'Job',
      status: { conditions: [{ type, status, reason: 'BackoffLimitExceeded' }] },
    })
    expect(sightingOf(job('Failed', 'True'))).toMatchObject({ state: 'failed', message: 'BackoffLimitExceeded' })
    expect(sightingOf(job('Failed', 'False')).state).toBe('running')
    // Its pods may still be running.
    expect(sightingOf(job('FailureTarget', 'True')).state).toBe('running')
    expect(sightingOf(job('Complete', 'True')).state).toBe('succeeded')
    expect(sightingOf({ kind: 'Job' }).state).toBe('running')
  })
})

describe('isOurs', () => {
  const identity = { name: 'n', namespace: 'ns', slotId: 's' }

  it('goes by the slot', () => {
    const job = jobObject(identity, cronJob)
    expect(isOurs(job, job)).toBe(true)
    expect(isOurs({ ...job, metadata: { ...job.metadata, annotations: {} } }, job)).toBe(false)
    expect(isOurs(jobObject({ ...identity, slotId: 'other' }, cronJob), job)).toBe(false)
  })

  it('tells Jobs of the same slot apart by what they were made of', () => {
    const job = jobObject(identity, cronJob)
    expect(job.metadata.annotations).toMatchObject({ [templateAnnotation]: 'CronJob/scheduler-dump' })
    const other = { ...cronJob, metadata: { name: 'dump-of-another-database' } }
    expect(isOurs(jobObject(identity, other), job)).toBe(false)
    const file = { kind: 'Job', metadata: { name: 'scheduler-dump' }, spec: cronJob.spec.jobTemplate.spec }
    expect(isOurs(jobObject(identity, file), job)).toBe(false)
    expect(isOurs(jobObject(identity, file), jobObject(identity, file))).toBe(true)
    // A file without a name, and an annotation in a template that says something else.
    const nameless = { ...file, metadata: { annotations: { [templateAnnotation]: 'CronJob/scheduler-dump' } } }
    expect(isOurs(jobObject(identity, nameless), job)).toBe(false)
  })
})
