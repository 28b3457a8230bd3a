/** What a run does about alerts when PostgreSQL cannot be reached. */
import { createScrubber, type TaskLogger } from '@battlescope/scheduler-core'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { tellOfOutage } from '../src/alerts/alert-input.js'
import { loadConfiguration } from '../src/configuration/load.js'
import type { Host } from '../src/host.js'

const nothing = () => undefined
let logged: Record<string, unknown>[] = []
const log = (fields: unknown) => void logged.push(fields as Record<string, unknown>)
const logger: TaskLogger = { trace: nothing, debug: nothing, info: log, warn: log, error: log }

let server: Server
let received = 0
let url = ''
beforeEach(async () => {
  logged = []
  received = 0
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      received += 1
      response.writeHead(200).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

function hostOf(): Host {
  return {
    environment: {
      DATABASE_URL: 'postgres://u:hunter2@127.0.0.1:1/battlescope',
      SCHEDULER_TASKS: 'analyze',
      SCHEDULER_ALERTS_ALERTMANAGER_URLS: url,
    },
    appFolder: import.meta.dirname,
    importModule: () => Promise.reject(new Error('nothing is imported')),
    stop: new AbortController().signal,
    hardStop: new AbortController().signal,
    endAtSignal: nothing,
    withDefaultSignals: (work) => work(),
    holder: 'test',
    terminal: { stdoutIsTerminal: false, stderrIsTerminal: false, colour: false, columns: 80 },
    now: () => new Date(0),
    secrets: createScrubber(),
  }
}

it('tells, within the time that the process has', async () => {
  const host = hostOf()
  const configuration = await loadConfiguration(host, {}, { options: 'enabled' })
  const remainingMs = vi.fn(() => 10_000)
  await tellOfOutage(host, configuration, logger, { reason: 'refused', remainingMs })
  expect(received).toBe(1)
  expect(logged).toMatchObject([{ event: 'alert-delivery', outcome: 'delivered' }])
  expect(remainingMs).toHaveBeenCalled()
})

it('changes nothing of how the run ends when nobody can be told', async () => {
  const host = hostOf()
  const configuration = await loadConfiguration(host, {}, { options: 'enabled' })
  const broken = {
    ...configuration,
    section: () => {
      throw new Error('no channels for hunter2')
    },
  } as typeof configuration
  host.secrets.add(['hunter2'])
  await tellOfOutage(host, broken, logger, { reason: 'refused', remainingMs: () => 10_000 })
  expect(logged).toMatchObject([
    { event: 'outage-not-told', reason: expect.stringMatching(/^no channels for (?!.*hunter2)/) as string },
  ])
})
