/** Small checks that the stand-ins are made of: each gives what is wrong, or nothing. */
import { limitOf } from './limits.js'

export type JsonFields = Readonly<Record<string, unknown>>

export function asFields(value: unknown): JsonFields | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as JsonFields) : undefined
}

export function textOf(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}

/** Undefined for what is not a JSON object. */
export function parseFields(body: string): JsonFields | undefined {
  try {
    return asFields(JSON.parse(body))
  } catch {
    return undefined
  }
}

/** UTF-16 units: the stricter of the two ways to count characters. */
export function tooLong(id: string, value: unknown): string[] {
  const max = limitOf(id)
  return typeof value === 'string' && value.length > max ? [`${id}: at most ${max} characters`] : []
}

export function required(name: string, value: unknown): string[] {
  return typeof value === 'string' && value.trim() !== '' ? [] : [`${name} is required`]
}

export function oneOf(name: string, value: unknown, allowed: readonly string[]): string[] {
  return typeof value === 'string' && allowed.includes(value) ? [] : [`${name} must be one of ${allowed.join(', ')}`]
}

/** A half of a surrogate pair, written as an escape, is JSON but no text. */
export function halfCharacters(body: string): string[] {
  let broken = false
  JSON.parse(body, (_, value: unknown) => {
    if (typeof value === 'string' && /\p{Surrogate}/u.test(value)) broken = true
    return value
  })
  return broken ? ['half a surrogate pair'] : []
}
