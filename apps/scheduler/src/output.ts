/** What commands print as data: tables for people, JSON for programs. The only file that writes to stdout beside the logs. */
import { writeSync } from 'node:fs'
import type { Host } from './host.js'
import { painter, printable, type Paint } from './logging/colour.js'

export class Output {
  readonly paint: Paint
  readonly #scrub: (text: string) => string

  constructor({ terminal, secrets }: Pick<Host, 'terminal' | 'secrets'>) {
    this.paint = painter(terminal.colour)
    this.#scrub = (text) => secrets.scrub(text)
  }

  json(value: unknown): void {
    write(1, this.#scrub(`${JSON.stringify(value, undefined, 2)}\n`))
  }

  line(text = ''): void {
    this.text(`${text}\n`)
  }

  /** As it is, line ends included. */
  text(text: string): void {
    write(1, this.#scrub(text))
  }

  /** Columns as wide as their widest cell. Cells may be painted. */
  table(headings: readonly string[], rows: readonly (readonly string[])[]): void {
    // Before widths are measured, and before a line break inside a secret is gone.
    const safe = rows.map((row) => row.map((cell) => printableKeepingPaint(this.#scrub(cell))))
    const widths = headings.map((heading, column) =>
      Math.max(heading.length, ...safe.map((row) => visibleLength(row[column] ?? ''))),
    )
    const format = (row: readonly string[]) =>
      row
        .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - visibleLength(cell))))
        .join('  ')
        .trimEnd()
    this.line(this.paint(format(headings), 'dim'))
    for (const row of safe) this.line(format(row))
  }

  error(text: string, hint?: string): void {
    this.note(`${this.paint('error', 'red')}: ${printable(this.#scrub(text))}`)
    if (hint !== undefined) this.note(`${this.paint('hint', 'cyan')}: ${printable(this.#scrub(hint))}`)
  }

  /** Beside the data: on stderr. */
  note(text: string): void {
    write(2, this.#scrub(`${text}\n`))
  }
}

export function outcomeColour(outcome: string): 'green' | 'red' | 'yellow' {
  if (outcome === 'succeeded') return 'green'
  return outcome === 'failed' || outcome === 'timed-out' ? 'red' : 'yellow'
}

/** Escape sequences begin with a control character. */
const escape = '\u001b'
const painted = new RegExp(`(${escape}\\[\\d+m)`, 'g')

function visibleLength(cell: string): number {
  return [...cell.replaceAll(painted, '')].length
}

function printableKeepingPaint(cell: string): string {
  return cell
    .split(painted)
    .map((part) => (part.startsWith(`${escape}[`) && part.endsWith('m') ? part : printable(part).replaceAll('\n', ' ')))
    .join('')
}

/** Whole, even where a pipe takes only a part at a time. */
function write(fd: 1 | 2, text: string): void {
  const bytes = Buffer.from(text)
  for (let offset = 0; offset < bytes.length;) {
    try {
      offset += writeSync(fd, bytes, offset)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // The reader went away: nobody is there to be told.
      if (code === 'EPIPE') return
      if (code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}
