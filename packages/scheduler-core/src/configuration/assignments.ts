/**
 * Which source gives which option: flag over environment over file. What no option claims is found here too.
 */
import { didYouMean, nearest } from './nearest.js'
import { deriveOptions, type DerivedOptions, type Option, type OptionGroup } from './options.js'
import { showGiven, showName, type Problem } from './problems.js'
import { copyRawValue, isPlainObject } from './raw-value.js'
import type { Section } from './sections.js'
import { readText, type TextValue } from './text-value.js'
import { given, unknownVariables, type Environment } from './variables.js'
import { allowedValues } from './wording.js'

export type OptionSource = 'flag' | 'environment' | 'environment file' | 'file' | 'default'

/** One option with the value that won, not yet checked by its schema. */
export interface Assignment {
  readonly source: Exclude<OptionSource, 'default'>
  /** What the user wrote: flag, variable or path. */
  readonly name: string
  readonly value: unknown
  /** The text, where the source gives text. */
  readonly text?: string
}

/** A secret's file as the caller read it, or why it could not. */
export type SecretFile = { readonly content: string } | { readonly error: string }

export interface RawInput {
  /** Path of an option (`budget`, `retention.batchSize`) → text. */
  readonly flags?: Readonly<Record<string, string>>
  readonly environment: Environment
  /** The parsed file; undefined without one. */
  readonly file?: unknown
  /** How problems call the file. Default: `the configuration file`. */
  readonly fileName?: string
  /** Line of a path in the file, for problems. */
  readonly lineOf?: (keys: readonly PropertyKey[]) => number | undefined
  /** Path → what was in it, for every path of {@link secretFilesToRead}. */
  readonly secretFiles?: ReadonlyMap<string, SecretFile>
  /**
   * `true` while third-party tasks are not loaded yet: a name that may be theirs is returned in `unclaimed` instead of being a problem.
   * Default: `false`.
   */
  readonly allowUnknown?: boolean
}

export interface Assignments {
  readonly values: ReadonlyMap<Option, Assignment>
  /** Groups that the file mentions, even empty ones. */
  readonly mentioned: ReadonlySet<OptionGroup>
  /** Options whose given value could not be read: already among the problems. */
  readonly unreadable: ReadonlySet<Option>
  readonly problems: readonly Problem[]
  readonly unclaimed: readonly string[]
}

export function assign(derived: DerivedOptions, input: RawInput): Assignments {
  const values = new Map<Option, Assignment>()
  const unreadable = new Set<Option>()
  const problems: Problem[] = []

  const take = (option: Option, source: Assignment['source'], name: string, text: string) => {
    const read = copied(readText(option.schema, text))
    if ('value' in read) {
      values.set(option, { source, name, value: read.value, text })
      unreadable.delete(option)
      return
    }
    unreadable.add(option)
    const given = option.secret === false ? { given: showGiven(text) } : {}
    problems.push({
      path: showName(name),
      ...given,
      expected: read.expected,
      ...(read.hint === undefined ? {} : { hint: read.hint }),
    })
  }

  const fromFile = assignFile(derived, input)
  for (const [option, assignment] of fromFile.values) values.set(option, assignment)
  for (const option of fromFile.unreadable) unreadable.add(option)
  problems.push(...fromFile.problems)

  for (const option of derived.options) {
    const text = given(input.environment, option.environment)
    const path = option.environmentFile === undefined ? undefined : given(input.environment, option.environmentFile)
    if (text !== undefined) take(option, 'environment', option.environment, text)
    if (path === undefined || option.environmentFile === undefined) continue
    if (text !== undefined) {
      const expected = `only one of ${option.environment} and ${option.environmentFile}`
      problems.push({ path: option.environmentFile, expected, hint: 'unset one of them' })
      continue
    }
    const secret = readSecret(input.secretFiles?.get(path))
    if ('text' in secret) take(option, 'environment file', option.environmentFile, secret.text)
    else {
      unreadable.add(option)
      problems.push({
        path: option.environmentFile,
        given: showGiven(path),
        expected: 'a readable file with the value',
        hint: secret.error,
      })
    }
  }

  const byPath = new Map(derived.options.map((option) => [option.path, option]))
  for (const [path, text] of Object.entries(input.flags ?? {})) {
    const option = byPath.get(path)
    if (option !== undefined) take(option, 'flag', option.flag, text)
    else problems.push(unknownName(`--${path}`, 'the name of an option', didYouMean(path, byPath.keys())))
  }

  const unknown = unknownVariables(derived, input.environment, input.allowUnknown === true)
  return {
    values,
    unreadable,
    mentioned: fromFile.mentioned,
    problems: [...problems, ...unknown.problems],
    unclaimed: [...fromFile.unclaimed, ...unknown.unclaimed],
  }
}

/** The files that hold secrets: the caller reads them and passes what it got as `secretFiles`. */
export function secretFilesToRead(
  sections: readonly Section[],
  environment: Environment,
): { readonly environment: string; readonly path: string }[] {
  return deriveOptions(sections).options.flatMap((option) => {
    const path = option.environmentFile === undefined ? undefined : given(environment, option.environmentFile)
    if (path === undefined || option.environmentFile === undefined) return []
    return given(environment, option.environment) === undefined ? [{ environment: option.environmentFile, path }] : []
  })
}

/** JSON in a variable may hold what JSON in a file may. */
function copied(read: TextValue): TextValue {
  return 'value' in read ? copyRawValue(read.value) : read
}

function readSecret(file: SecretFile | undefined): { readonly text: string } | { readonly error: string } {
  if (file === undefined) return { error: 'the file was not read' }
  if ('error' in file) return { error: showName(file.error) }
  // Editors and `echo` end a file with a newline that is no part of the secret.
  const text = file.content.replace(/[\r\n]+$/, '')
  return text === '' ? { error: 'the file is empty' } : { text }
}

function unknownName(path: string, expected: string, hint: string | undefined): Problem {
  return { path: showName(path), expected, ...(hint === undefined ? {} : { hint }) }
}

function assignFile(derived: DerivedOptions, input: RawInput) {
  const values = new Map<Option, Assignment>()
  const mentioned = new Set<OptionGroup>()
  const unreadable = new Set<Option>()
  const problems: Problem[] = []
  const unclaimed: string[] = []
  const fileName = input.fileName ?? 'the configuration file'
  const place = (keys: readonly string[]) => locationOf(input, keys)

  const walk = (group: OptionGroup, value: unknown, keys: readonly string[]) => {
    // YAML reads a section whose entries are all commented out as null.
    if (value === null || value === undefined) return
    mentioned.add(group)
    if (!isPlainObject(value)) {
      const path = keys.length === 0 ? showName(fileName) : showName(keys.join('.'))
      // Its text may be a secret that lost its key.
      const kind = Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'another value' : `a ${typeof value}`
      problems.push({ path, ...place(keys), given: kind, expected: 'a mapping of options to values' })
      return
    }
    for (const [key, entry] of Object.entries(value)) {
      const path = [...keys, key]
      const child = group.children.get(key)
      if (child?.kind === 'group') walk(child, entry, path)
      else if (child?.kind === 'option' && child.inFile) {
        const raw = copyRawValue(entry)
        if ('value' in raw) values.set(child, { source: 'file', name: child.path, value: raw.value })
        else {
          unreadable.add(child)
          problems.push({ path: child.path, ...place(path), expected: raw.expected })
        }
      } else if (child?.kind === 'option') {
        problems.push({
          path: child.path,
          ...place(path),
          expected: 'this option outside the file',
          hint: `set ${child.environment} in the environment`,
        })
      } else if (keys.length === 0 && input.allowUnknown === true && (entry === null || isPlainObject(entry))) {
        unclaimed.push(key)
      } else {
        const names = [...group.children].flatMap(([name, each]) =>
          each.kind === 'option' && !each.inFile ? [] : [name],
        )
        const expected =
          keys.length === 0 ? 'the name of a section or option' : `the name of an option of '${group.path}'`
        problems.push({
          ...unknownName(path.join('.'), expected, didYouMean(key, names) ?? elsewhere(key, derived)),
          ...place(path),
        })
      }
    }
  }

  walk(derived.root, input.file, [])
  return { values, mentioned, unreadable, problems, unclaimed }
}

/** An option written without, or in the wrong, section. */
function elsewhere(key: string, derived: DerivedOptions): string | undefined {
  const paths = derived.options
    .filter((option) => option.keys.length > 1 && option.keys.at(-1) === key)
    .map(({ path }) => path)
  return paths.length === 0 || paths.length > 3
    ? undefined
    : `did you mean ${paths.map((path) => `'${path}'`).join(' or ')}?`
}

export function locationOf(input: RawInput, keys: readonly PropertyKey[]): { readonly location?: string } {
  const line = input.lineOf?.(keys)
  if (line !== undefined) return { location: `${showName(input.fileName ?? 'line')}:${line}` }
  return input.fileName === undefined || keys.length === 0 ? {} : { location: showName(input.fileName) }
}

/** A required option without a value: how to give it. */
export function missingOption(option: Option, derived: DerivedOptions, environment: Environment): Problem {
  const known = new Set(derived.options.flatMap((each) => [each.environment, each.environmentFile]))
  const others = Object.keys(environment).filter((name) => !known.has(name) && given(environment, name) !== undefined)
  const slip = nearest(option.environment, others, 1)[0]
  const inFile = option.inFile ? `'${option.path}' in the configuration file` : undefined
  const places = [option.environment, option.environmentFile, inFile].filter((place) => place !== undefined)
  const hint = `set ${places.join(', or ')}`
  return {
    path: option.environment,
    expected: `a value: ${allowedValues(option.schema)}`,
    hint: slip === undefined ? hint : `${hint}; the environment has '${showName(slip)}'`,
  }
}
