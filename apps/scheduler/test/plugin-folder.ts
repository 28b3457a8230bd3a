/** A folder with its own node_modules, as SCHEDULER_PLUGIN_DIR names one, with packages made of text. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface PackageText {
  /** Becomes `index.js`. */
  readonly source: string
  /** Merged into package.json. Default: an ESM package whose `exports` name only `import`. */
  readonly manifest?: object
}

export interface PluginFolder {
  readonly path: string
  remove(): void
}

export function makePluginFolder(packages: Readonly<Record<string, PackageText>>): PluginFolder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'scheduler-plugins-')))
  for (const [name, { source, manifest }] of Object.entries(packages)) {
    const folder = join(path, 'node_modules', name)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'index.js'), source)
    const whole = { name, version: '1.0.0', type: 'module', exports: { '.': { import: './index.js' } }, ...manifest }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(whole))
  }
  for (const dependency of ['zod', 'kysely']) {
    symlinkSync(
      join(import.meta.dirname, '..', 'node_modules', dependency),
      join(path, 'node_modules', dependency),
      'dir',
    )
  }
  return {
    path,
    remove: () => {
      rmSync(path, { recursive: true, force: true })
    },
  }
}

/** The text of a package with one task; `run` is the body of an async function of `context`. */
export function taskPackage(
  name: string,
  run: string,
  change: { readonly before?: string; readonly members?: string } = {},
): PackageText {
  const source = `
    import { z } from 'zod'
    ${change.before ?? ''}
    export default {
      apiVersion: 1,
      name: '${name}',
      description: 'a task of the tests',
      schedule: { kind: 'every-run' },
      timeoutMs: 20_000,
      configSchema: z.object({ note: z.string().default('none').describe('What is written.') }),
      requires: () => ({ relations: [] }),
      ${change.members ?? ''}
      async run(context) { ${run} },
    }`
  return { source }
}
