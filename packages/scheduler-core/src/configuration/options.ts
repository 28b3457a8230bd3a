import type { Problem } from './problems.js'
import { showName } from './problems.js'
import { containsSecret, core, mayBeAbsent, metaOf, shapeOf, type Schema } from './schema-reading.js'
import { taskOptionDefaults, taskOptionsSchema, type Section } from './sections.js'

export const environmentPrefix = 'SCHEDULER_'

/** One thing that can be configured. */
export interface Option {
  readonly kind: 'option'
  readonly section: Section
  /** One of the options that every task has, not of the section's own schema. */
  readonly common: boolean
  readonly keys: readonly string[]
  /** Path in the file: `retention.batchSize`. */
  readonly path: string
  /** Environment variable: `SCHEDULER_RETENTION_BATCH_SIZE`. */
  readonly environment: string
  /** Environment variable that names a file with the value. Secrets alone have one. */
  readonly environmentFile: string | undefined
  readonly flag: string
  readonly description: string | undefined
  /** `true` when the value, or a part of it, is secret; `'url'` when the password of a URL is. */
  readonly secret: boolean | 'url'
  /** False when the file cannot set it. */
  readonly inFile: boolean
  readonly schema: Schema
  /** Replaces the schema's default, in the form of the file. */
  readonly override: unknown
}

/** Options under one path. */
export interface OptionGroup {
  readonly kind: 'group'
  /** Absent for the root, which holds the groups of all sections beside the program's own options. */
  readonly section: Section | undefined
  readonly path: string
  readonly children: Map<string, Option | OptionGroup>
  /** The schema of the group wants an object even when no option is given. */
  readonly required: boolean
}

export interface DerivedOptions {
  readonly options: readonly Option[]
  readonly root: OptionGroup
  /** The group of each named section. */
  readonly groups: ReadonlyMap<string, OptionGroup>
  readonly problems: readonly Problem[]
}

/** `retention.batchSize` → `RETENTION_BATCH_SIZE`; a number stays with the word before it: `s3Bucket` → `S3_BUCKET`. */
export function environmentName(keys: readonly string[]): string {
  return keys
    .map((key) =>
      key
        .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
        .replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
        .replace(/[^A-Za-z0-9]+/g, '_')
        .toUpperCase(),
    )
    .join('_')
}

/** Where in the tree of options a shape is entered. */
interface Place {
  readonly section: Section
  readonly common: boolean
  readonly group: OptionGroup
  readonly keys: readonly string[]
  /** Object schemas on the way here: one that contains itself is an option of its own, not groups without end. */
  readonly within: readonly Schema[]
}

/** Of lists that were asked for already: a run asks twice about its own, for files with secrets and for values. */
const derivedBefore = new WeakMap<readonly Section[], DerivedOptions>()

/** Every option of every section with its derived names. Two options that derive one name are a problem that lists both. */
export function deriveOptions(sections: readonly Section[]): DerivedOptions {
  const before = derivedBefore.get(sections)
  if (before !== undefined) return before
  const derived = deriveAnew(sections)
  derivedBefore.set(sections, derived)
  return derived
}

function deriveAnew(sections: readonly Section[]): DerivedOptions {
  const root: OptionGroup = { kind: 'group', section: undefined, path: '', children: new Map(), required: true }
  const groups = new Map<string, OptionGroup>()
  const options: Option[] = []
  const problems: Problem[] = []

  const walk = (place: Place, shape: Readonly<Record<string, Schema>>) => {
    const { section, common, group } = place
    const overrides = common && section.task !== undefined ? taskOptionDefaults(section.task) : section.defaults
    for (const [key, schema] of Object.entries(shape)) {
      const keys = [...place.keys, key]
      const path = keys.join('.')
      if (!/^[a-zA-Z][a-zA-Z0-9]*$/.test(key)) {
        problems.push({ path: showName(path), expected: 'an option name of letters and digits, as in batchSize' })
        continue
      }
      if (group.children.has(key)) {
        problems.push(section.task === undefined ? duplicate(path, [path, path]) : reserved(path))
        continue
      }
      const nested = place.within.includes(core(schema)) ? undefined : shapeOf(schema)
      if (nested === undefined) {
        const local = keys.slice(section.name === undefined ? 0 : 1).join('.')
        const override = overrides !== undefined && Object.hasOwn(overrides, local) ? overrides[local] : undefined
        const option = describeOption(section, schema, keys, common, override)
        group.children.set(key, option)
        options.push(option)
      } else {
        const child: OptionGroup = { kind: 'group', section, path, children: new Map(), required: !mayBeAbsent(schema) }
        group.children.set(key, child)
        walk({ section, common, group: child, keys, within: [...place.within, core(schema)] }, nested)
      }
    }
  }

  // The program's own first: a section that takes one of their names is the one to be renamed.
  for (const section of [...sections].sort((a, b) => Number(a.name !== undefined) - Number(b.name !== undefined))) {
    let group = root
    if (section.name !== undefined) {
      if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(section.name)) {
        problems.push({ path: showName(section.name), expected: 'a section name in kebab-case' })
        continue
      }
      if (root.children.has(section.name)) {
        problems.push(duplicate(section.name, [section.name, section.name]))
        continue
      }
      group = { kind: 'group', section, path: section.name, children: new Map(), required: true }
      root.children.set(section.name, group)
      groups.set(section.name, group)
    }
    const place = {
      section,
      group,
      keys: section.name === undefined ? [] : [section.name],
      within: [core(section.schema)],
    }
    if (section.task !== undefined) walk({ ...place, common: true }, taskOptionsSchema.shape)
    walk({ ...place, common: false }, shapeOf(section.schema) ?? {})
  }
  return { options, root, groups, problems: [...problems, ...environmentClashes(options)] }
}

function describeOption(
  section: Section,
  schema: Schema,
  keys: readonly string[],
  common: boolean,
  override: unknown,
): Option {
  const meta = metaOf(schema)
  const environment = meta.env ?? environmentPrefix + environmentName(keys)
  // A URL that is only a part of the value cannot be told apart when it is shown: then all of it is secret.
  const secret = meta.secret === 'url' ? 'url' : containsSecret(schema)
  return {
    kind: 'option',
    section,
    common,
    keys,
    path: keys.join('.'),
    environment,
    environmentFile: secret === false ? undefined : `${environment}_FILE`,
    flag: `--${environmentName(keys).toLowerCase().replaceAll('_', '-')}`,
    description: meta.description,
    secret,
    inFile: meta.file !== false,
    schema,
    override,
  }
}

function environmentClashes(options: readonly Option[]): Problem[] {
  const users = new Map<string, string[]>()
  for (const option of options) {
    for (const name of [option.environment, option.environmentFile]) {
      if (name !== undefined) users.set(name, [...(users.get(name) ?? []), option.path])
    }
  }
  return [...users].filter(([, paths]) => paths.length > 1).map(([name, paths]) => duplicate(name, paths))
}

function reserved(path: string): Problem {
  const names = Object.keys(taskOptionsSchema.shape).map((name) => `'${name}'`)
  return {
    path,
    expected: 'another name for this option',
    hint: `every task has the options ${names.join(' and ')} already`,
  }
}

function duplicate(name: string, paths: readonly string[]): Problem {
  const both = paths.map((path) => `'${path}'`).join(' and ')
  return { path: name, expected: 'one option per name', hint: `${both} derive the same name: rename one of them` }
}
