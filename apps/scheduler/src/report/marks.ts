/** Small words with a sign in front: what is said by colour is said by both. */
import type { Severity } from '@battlescope/scheduler-core'
import { html, type Html } from './html.js'

const severitySigns: Readonly<Record<Severity, string>> = { critical: '✕', error: '✕', warning: '▲', info: '•' }

const outcomeSigns: Readonly<Record<string, string>> = {
  succeeded: '✓',
  partial: '◐',
  skipped: '–',
  cancelled: '■',
  failed: '✕',
  'timed-out': '✕',
}

export function severityMark(severity: Severity): Html {
  return html`<span class="mark ${severity}"
    ><span aria-hidden="true">${severitySigns[severity]} </span>${severity}</span
  >`
}

export function outcomeMark(outcome: string): Html {
  const sign = outcomeSigns[outcome]
  return html`<span class="mark ${sign === undefined ? '' : outcome}"
    ><span aria-hidden="true">${sign ?? '•'} </span>${outcome.replace('-', ' ')}</span
  >`
}
