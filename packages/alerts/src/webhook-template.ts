/** JSON with places to be filled in. They are filled in the parsed value, never in its text: whatever is put there, it stays JSON. */
import type { AlertMessage } from '@battlescope/scheduler-core'
import { didYouMean } from '@battlescope/scheduler-core'
import { linkFor, placeOf, type Installation } from './installation.js'
import { asText, fitDetails, wellFormed } from './text-limits.js'

export type TemplateValues = Readonly<Record<PlaceName, unknown>>

const placeNames = [
  'id',
  'transition',
  'status',
  'key',
  'task',
  'finding',
  'place',
  'severity',
  'summary',
  'details',
  'openedAt',
  'at',
  'installation',
  'link',
] as const
type PlaceName = (typeof placeNames)[number]

const place = /\{\{\s*([A-Za-z]*)\s*\}\}/g
const deepest = 20

/** As Standard Webhooks recommend it: a type, a time, and the data. */
export const defaultTemplate: unknown = {
  type: 'alert.{{transition}}',
  timestamp: '{{at}}',
  data: Object.fromEntries(
    placeNames.filter((name) => name !== 'id' && name !== 'at').map((name) => [name, `{{${name}}}`]),
  ),
}

/** What is wrong with a template, or undefined. */
export function templateProblem(text: string): string | undefined {
  let template: unknown
  try {
    template = JSON.parse(text)
  } catch {
    return 'JSON with places such as "{{summary}}", in quotes: what is given is not JSON'
  }
  if (template === null || typeof template !== 'object' || Array.isArray(template)) return 'a JSON object'
  const unknown = textsIn(template, 0)
    .flatMap((each) => [...each.matchAll(place)].map(([, name = '']) => name))
    .find((name) => !(placeNames as readonly string[]).includes(name))
  if (unknown === undefined) return undefined
  return `places among ${placeNames.map((name) => `{{${name}}}`).join(', ')}; {{${unknown}}} is none of them; ${didYouMean(unknown, placeNames) ?? ''}`
}

function textsIn(value: unknown, depth: number): string[] {
  if (typeof value === 'string') return [value]
  if (value === null || typeof value !== 'object' || depth > deepest) return []
  return Object.values(value).flatMap((entry) => textsIn(entry, depth + 1))
}

/** A text that is one place and nothing else becomes the value itself, an object for `{{details}}`; within other text its text. */
export function filled(template: unknown, values: TemplateValues, depth = 0): unknown {
  if (typeof template === 'string') {
    const [, only] = /^\{\{\s*([A-Za-z]*)\s*\}\}$/.exec(template) ?? []
    if (only !== undefined) return values[only as PlaceName] ?? null
    // A function, so that $& in a value is not read as a pattern.
    return template.replace(place, (_, name: PlaceName) => asText(values[name] ?? ''))
  }
  if (Array.isArray(template)) return template.map((entry) => filled(entry, values, depth + 1))
  if (template === null || typeof template !== 'object' || depth > deepest) return template
  return Object.fromEntries(Object.entries(template).map(([key, entry]) => [key, filled(entry, values, depth + 1)]))
}

export function valuesOf(
  { id, transition, alert, at }: AlertMessage,
  link: string | undefined,
  installation: Installation,
  maxDetailBytes: number,
): TemplateValues {
  return {
    id,
    transition,
    status: transition === 'resolved' ? 'resolved' : 'firing',
    key: alert.key,
    task: alert.task ?? null,
    finding: wellFormed(alert.findingKey),
    place: wellFormed(placeOf(alert)),
    severity: alert.severity,
    summary: wellFormed(alert.summary),
    details: fitDetails(alert.details, maxDetailBytes),
    openedAt: alert.openedAt.toISOString(),
    at: at.toISOString(),
    installation: installation.name,
    link: linkFor(link, alert) ?? null,
  }
}
