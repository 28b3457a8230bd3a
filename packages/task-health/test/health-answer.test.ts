import { describe, expect, it } from 'vitest'
import { readHealthAnswer } from '../src/services/health-answer.js'

describe('what a health endpoint says', () => {
  it.each([
    [200, '{"status":"ok"}', 'healthy', []],
    [200, 'OK', 'healthy', []],
    [200, '', 'healthy', []],
    [204, '', 'healthy', []],
    [200, '{"ok":true}', 'healthy', []],
    [200, '{"status":"Server available","upSince":"2026-11-25"}', 'healthy', []],
    [200, '{"ok":false}', 'unhealthy', []],
    [200, '{"status":"error"}', 'unhealthy', []],
    [200, '{"status":"degraded"}', 'degraded', []],
    [302, '', 'unhealthy', []],
    [404, 'not found', 'unhealthy', []],
    [503, '{"ok":false,"resource_error":"OUT_OF_DISK"}', 'unhealthy', []],
    [503, '{"status":"unhealthy","checks":{"database":false,"redis":true}}', 'unhealthy', ['database']],
    [
      503,
      '{"status":"degraded","checks":{"database":{"status":"ok"},"redis":{"status":"up"},"zkillboard":{"status":"error"}}}',
      'degraded',
      ['zkillboard'],
    ],
    [503, '{"status":"degraded","checks":{"database":"ok","zkillboard":"timeout"}}', 'degraded', ['zkillboard']],
    [
      503,
      '{"status":"degraded","checks":[{"name":"redis","healthy":false},{"name":"database","healthy":true}]}',
      'degraded',
      ['redis'],
    ],
    [200, '{"status":"ok","checks":{"database":"ok","redis":"down"}}', 'degraded', ['redis']],
    [200, '[]', 'healthy', []],
    [200, 'null', 'healthy', []],
  ])('%d %s: %s', (status, body, verdict, failing) => {
    expect(readHealthAnswer(status, body)).toEqual({ verdict, failing })
  })

  it('names no more parts than fit', () => {
    const checks = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`${'x'.repeat(100)}${index}`, false]))
    const { failing } = readHealthAnswer(503, JSON.stringify({ checks }))
    expect(failing).toHaveLength(10)
    expect(failing[0]).toHaveLength(60)
  })
})
