/**
 * Reads what a zod schema says about itself. Task packages may bring their own copy of zod 4, so nothing here uses `instanceof`.
 */
import { z } from 'zod'
import { optionTypes, type OptionType } from '../option-types.js'

export type Schema = z.core.$ZodType

interface Definition {
  readonly type: string
  readonly innerType?: Schema
  readonly in?: Schema
  readonly out?: Schema
  readonly element?: Schema
  readonly items?: readonly Schema[]
  readonly rest?: Schema | null
  readonly options?: readonly Schema[]
  readonly keyType?: Schema
  readonly valueType?: Schema
  readonly left?: Schema
  readonly right?: Schema
  readonly shape?: Readonly<Record<string, Schema>>
  readonly catchall?: Schema
  readonly values?: readonly unknown[]
  readonly defaultValue?: unknown
}

export function definition(schema: Schema): Definition {
  return schema._zod.def
}

function isZod4Schema(schema: unknown): schema is Schema {
  return typeof (schema as { _zod?: { def?: { type?: unknown } } } | null | undefined)?._zod?.def?.type === 'string'
}

/** A schema and everything it merely wraps (`optional`, `default`, …, and the input side of a transformation), outermost first. */
export function layers(schema: Schema): Schema[] {
  const result: Schema[] = []
  for (let layer: Schema | undefined = schema; layer !== undefined && !result.includes(layer); layer = inner(layer)) {
    result.push(layer)
  }
  return result
}

function inner(schema: Schema): Schema | undefined {
  const { type, innerType, in: input, out } = definition(schema)
  // z.preprocess is a pipe that begins with a transformation: only its other side says what it wants.
  if (type === 'pipe') return input !== undefined && definition(input).type === 'transform' ? out : input
  // The getter of a lazy schema may make a new one at each call; zod keeps the first.
  if (type === 'lazy') return (schema._zod as { innerType?: Schema }).innerType
  return innerType
}

/** The innermost layer: what a value given from outside has to be first. */
export function core(schema: Schema): Schema {
  return layers(schema).at(-1) ?? schema
}

/**
 * The options inside an object schema; undefined for every other schema, and for an object that is transformed afterwards, or lazy
 * (it may contain itself).
 */
export function shapeOf(schema: Schema): Readonly<Record<string, Schema>> | undefined {
  const { type, shape } = definition(core(schema))
  const isOpaque = layers(schema).some((layer) => ['pipe', 'lazy'].includes(definition(layer).type))
  return type === 'object' && !isOpaque ? shape : undefined
}

export interface OptionMeta {
  readonly description?: string
  /** Environment variable in place of the derived name. */
  readonly env?: string
  /** `true`: never shown. `'url'`: a URL whose password is never shown. */
  readonly secret?: true | 'url'
  /** Of a secret: the messages of its schema never quote the value, so that problems may show them. Default: they may, and are not shown. */
  readonly quotesNothing?: true
  /** `false`: cannot be set in the configuration file. */
  readonly file?: false
  readonly optionType?: OptionType
}

/** What `.describe()` and `.meta()` said on any layer; the outermost wins. */
export function metaOf(schema: Schema): OptionMeta {
  const found: { -readonly [Key in keyof OptionMeta]: OptionMeta[Key] } = {}
  for (const layer of layers(schema).reverse()) {
    const { description, env, secret, quotesNothing, file, optionType } = ownMeta(layer)
    if (typeof description === 'string') found.description = description
    if (typeof env === 'string') found.env = env
    if (secret) found.secret = secret === 'url' ? 'url' : true
    if (quotesNothing === true) found.quotesNothing = true
    if (file === false) found.file = false
    if (isOptionType(optionType)) found.optionType = optionType
  }
  return found
}

function ownMeta(schema: Schema): { readonly [Key in keyof OptionMeta]?: unknown } {
  // The method reads the registry of the copy of zod that made the schema.
  const own = (schema as { meta?: () => object | undefined }).meta?.() ?? z.globalRegistry.get(schema)
  return own ?? {}
}

function isOptionType(value: unknown): value is OptionType {
  return (optionTypes as readonly unknown[]).includes(value)
}

/** True when the schema, or anything within it, is marked secret. */
export function containsSecret(schema: Schema, visited = new Set<Schema>()): boolean {
  if (visited.has(schema)) return false
  visited.add(schema)
  if (ownMeta(schema).secret) return true
  return parts(schema).some((part) => containsSecret(part, visited))
}

function parts(schema: Schema): Schema[] {
  const it = definition(schema)
  const several = [...(it.items ?? []), ...(it.options ?? []), ...Object.values(it.shape ?? {})]
  const single = [
    it.innerType,
    it.in,
    it.out,
    it.element,
    it.rest,
    it.keyType,
    it.valueType,
    it.left,
    it.right,
    it.catchall,
    inner(schema),
  ]
  // Enums keep text, not schemas, in properties of the same names.
  return [...several, ...single].filter(isZod4Schema)
}

/** The schema of what lies at `path` within a value; the last one that is certain where alternatives begin. */
export function schemaAt(schema: Schema, path: readonly PropertyKey[]): Schema {
  const [key, ...rest] = path
  if (key === undefined) return schema
  const it = definition(core(schema))
  const next =
    it.type === 'object' && it.shape !== undefined && Object.hasOwn(it.shape, key)
      ? it.shape[String(key)]
      : it.type === 'tuple'
        ? (it.items?.[Number(key)] ?? it.rest ?? undefined)
        : it.type === 'record'
          ? it.valueType
          : it.type === 'array'
            ? it.element
            : undefined
  return next === undefined ? schema : schemaAt(next, rest)
}

/** The value that stands in for an absent one: what the code gets (`default`), or what is read as if given (`prefault`). */
export function defaultOf(schema: Schema): { readonly value: unknown } | undefined {
  for (const layer of layers(schema)) {
    const { type } = definition(layer)
    if (type !== 'default' && type !== 'prefault') continue
    try {
      return { value: definition(layer).defaultValue }
    } catch {
      // A default may be a function; what it throws is reported when the section is checked.
      return undefined
    }
  }
  return undefined
}

/** True when the value may be absent. */
export function mayBeAbsent(schema: Schema): boolean {
  return schema._zod.optin !== undefined
}
