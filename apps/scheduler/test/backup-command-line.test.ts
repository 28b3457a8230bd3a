/** What the command line makes of the documented commands. Restoring itself is tried in backup.test.ts. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { runCommandLine } from '../src/command-line.js'
import type { BackupRestoreOptions } from '../src/commands/backup/restore.js'
import type { Host } from '../src/host.js'
import { hostOf } from './host-of.js'

const restore = vi.hoisted(() => vi.fn<(host: Host, options: BackupRestoreOptions) => Promise<number>>())
vi.mock('../src/commands/backup/restore.js', () => ({ restore }))

const host = hostOf({})

describe('backup restore', () => {
  afterEach(() => restore.mockReset())

  const parsed = async (...argv: string[]) => {
    restore.mockResolvedValue(0)
    expect(await runCommandLine(host, ['backup', 'restore', ...argv])).toBe(0)
    return restore.mock.calls[0]?.[1]
  }

  it('takes --no-owner, and leaves owners alone without it', async () => {
    const url = 'postgresql://admin@host/empty'
    expect(await parsed('NAME', '--to', url, '--no-owner')).toMatchObject({
      name: 'NAME',
      target: { url },
      noOwner: true,
      dryRun: false,
    })
    restore.mockReset()
    expect(await parsed('--to-file', 'target-url')).toMatchObject({
      target: { file: 'target-url' },
      noOwner: false,
      intoNonEmpty: false,
      intoSource: false,
    })
  })

  it('still refuses what nobody knows', async () => {
    await expect(runCommandLine(host, ['backup', 'restore', '--to', 'x', '--no-json'])).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('no-json') as string,
    })
    expect(restore).not.toHaveBeenCalled()
  })
})
