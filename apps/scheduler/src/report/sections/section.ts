/** A section of the page. Each has a file of its own; `index.ts` has their order. */
import type { Html } from '../html.js'
import { html } from '../html.js'

export interface Section {
  /** For links. */
  readonly id: string
  readonly title: string
  /** What the figures are and how they were counted, in a sentence. */
  readonly lead?: Html | string
  readonly body: Html
}

export function empty(text: string): Html {
  return html`<p class="empty">${text}</p>`
}
