/** Health endpoints of real HTTP servers. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { serviceHealth } from '../src/services/service-health.js'
import { httpClients, lines, runHealth } from './run.js'

let database: TestDatabase
let server: Server
let url: string
const answers: Readonly<Record<string, (response: ServerResponse) => void>> = {
  '/fine': (response) => response.end('{"status":"ok"}'),
  '/degraded': (response) =>
    response.writeHead(503).end('{"status":"degraded","checks":{"database":"ok","zkillboard":"timeout"}}'),
  '/broken': (response) => response.writeHead(500).end(),
  '/elsewhere': (response) => response.writeHead(302, { location: '/fine' }).end(),
  '/silent': () => undefined,
}

beforeAll(async () => {
  database = await createTestDatabase()
  server = createServer((request, response) => answers[request.url ?? '']?.(response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await database.drop()
})

const run = (services: Readonly<Record<string, string>> | undefined, options: object = {}) =>
  runHealth(database, {
    checks: [serviceHealth],
    options: {
      ...(services === undefined ? {} : { services }),
      serviceHealth: { timeout: '500ms', latency: '1h', ...options },
    },
    clients: httpClients,
  })

it('finds each service that is not well, with the part that fails', async () => {
  const closed = createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const gone = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`
  await new Promise((resolve) => closed.close(resolve))
  const services = {
    fine: `${url}/fine`,
    degraded: `${url}/degraded`,
    broken: `${url}/broken`,
    elsewhere: `${url}/elsewhere`,
    silent: `${url}/silent`,
    gone,
  }
  expect(lines(await run(services))).toEqual([
    'warning service-health:degraded: service degraded is degraded: status 503 (failing: zkillboard)',
    'error service-health:broken: service broken is unhealthy: status 500',
    'error service-health:elsewhere: service elsewhere is unhealthy: status 302',
    'error service-health:silent: service silent does not answer: no answer within 500ms',
    'error service-health:gone: service gone does not answer: ECONNREFUSED',
  ])
  expect(lines(await run({ fine: `${url}/fine` }))).toEqual([])
})

it('says which option is missing', async () => {
  expect(lines(await run(undefined))).toEqual([
    'info unknown:services: 1 check is unknown: no services are named: set SCHEDULER_HEALTH_SERVICES',
  ])
})

it('refuses what is no URL, or carries a password', async () => {
  const refused = (service: string) => () => run({ api: service })
  await expect(refused('api:3000/healthz')()).rejects.toThrow(/an http:\/\/ or https:\/\/ URL/)
  await expect(refused('http://user:secret@api:3000/healthz')()).rejects.toThrow(/without user, password and fragment/)
})
