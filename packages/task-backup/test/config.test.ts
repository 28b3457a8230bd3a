import { describe, expect, it } from 'vitest'
import { backupConfig } from '../src/config.js'

describe('backup.statusUrl', () => {
  const problemsOf = (statusUrl: string) =>
    backupConfig
      .safeParse({ driver: 'http', url: 'https://host/backups', statusUrl })
      .error?.issues.map(({ path, message }) => [path.join('.'), message])

  it.each(['https://host/backups/{name}', 'https://host/status?backup={name}', 'http://{name}.host/'])(
    'may be %s',
    (url) => {
      expect(problemsOf(url)).toBeUndefined()
    },
  )

  it.each(['https://host/status', 'https://host/{Name}', 'https://host/%7Bname%7D'])(
    'is refused without {name}, because it says the same of every backup: %s',
    (url) => {
      expect(problemsOf(url)).toEqual([['statusUrl', expect.stringContaining('{name}') as string]])
    },
  )

  it.each(['ftp://host/{name}', 'https://user@host/{name}', 'https://host/#{name}', '{name}'])(
    'is refused as no URL for fetch(): %s',
    (url) => {
      expect(problemsOf(url)).toEqual([['statusUrl', expect.stringContaining('without user') as string]])
    },
  )
})
