/** Markup whose every inserted value is escaped, unless it is markup itself. The only place that makes either. */

/** Markup: only {@link html} makes it. */
export class Html {
  readonly #text: string

  private constructor(text: string) {
    this.#text = text
  }

  static of(strings: TemplateStringsArray, values: readonly Content[]): Html {
    // How the source is indented is nobody's business, and would be half of the page.
    const parts = strings.map((part) => part.replace(/\n\s*/g, '\n'))
    return new Html(parts.reduce((text, part, index) => text + markupOf(values[index - 1]) + part))
  }

  toString(): string {
    return this.#text
  }
}

export type Content = Html | string | number | undefined | readonly Content[]

/**
 * A tagged template. Attribute values must be in double quotes. ASCII alone: the program's loader reads its text byte by byte, and what stands in
 * other strings is escaped by the build, but not here. Signs go in as values.
 */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  return Html.of(strings, values)
}

/** A style sheet without inserted values: there is no escaping for those. */
export function css(strings: TemplateStringsArray): Html {
  return Html.of(strings, [])
}

function markupOf(value: Content): string {
  if (value === undefined) return ''
  if (value instanceof Html) return value.toString()
  if (typeof value === 'object') return value.map(markupOf).join('')
  return escapeText(String(value))
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/**
 * Text, for elements and for quoted attributes. What cannot be seen, or turns the direction of what follows, is replaced: a name that was
 * stored by somebody else must not look like another one.
 */
function escapeText(text: string): string {
  return (
    text
      // eslint-disable-next-line no-control-regex -- control characters are what is looked for
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, '\u{fffd}')
      .replace(/[&<>"']/g, (character) => entities[character] ?? '')
  )
}

/** Long texts are cut, and say so. */
export function shortened(text: string, most = 300): string {
  const characters = [...text]
  if (characters.length <= most) return text
  return `${characters.slice(0, most).join('')}… (${characters.length - most} more characters)`
}
