/** Log records as lines for people. Progress of a running task is one line that is rewritten. */
import { formatDuration } from '@battlescope/scheduler-core'
import type { Terminal } from '../host.js'
import { painter, printable } from './colour.js'

interface LogRecord {
  readonly level: string
  readonly msg: string
  readonly event?: string
  readonly task?: string
  readonly outcome?: string
  readonly reason?: string
  readonly errorCode?: string
  readonly durationMs?: number
  readonly actions?: number
  readonly remaining?: number
  readonly hint?: string
  readonly error?: string
  readonly findings?: readonly { readonly severity: string; readonly summary: string }[]
  readonly progress?: {
    readonly done: number
    readonly total?: number
    readonly unit: string
    readonly current?: string
  }
}

const eraseLine = '\r\u001b[2K'

export function terminalRenderer(write: (text: string) => void, terminal: Terminal) {
  const paint = painter(terminal.colour)
  let live = false
  const clear = () => {
    if (live) write(eraseLine)
    live = false
  }
  const line = (text: string) => {
    clear()
    write(`${printable(text)}\n`)
  }
  return {
    write(json: string): void {
      const record = JSON.parse(json) as LogRecord
      if (record.progress !== undefined) {
        write(`${eraseLine}${progressLine(record, terminal.columns)}`)
        live = true
        return
      }
      if (record.event === 'task-started') {
        clear()
        write(`${eraseLine}  ${record.task ?? ''} …`)
        live = true
        return
      }
      if (record.event === 'task-ended') {
        clear()
        write(`${endLine(record, paint)}\n`)
        if (record.hint !== undefined) write(`      hint: ${printable(record.hint)}\n`)
        for (const finding of record.findings ?? [])
          write(`      ${paint(finding.severity, 'yellow')}: ${printable(finding.summary)}\n`)
        return
      }
      if (record.level === 'debug' || record.level === 'trace') return
      const colour = record.level === 'error' ? 'red' : record.level === 'warn' ? 'yellow' : 'dim'
      const rest = [record.task, record.reason, record.error, record.hint]
        .filter((part) => part !== undefined)
        .join(' · ')
      clear()
      write(`${paint(record.level, colour)} ${printable(record.msg)}${rest === '' ? '' : `: ${printable(rest)}`}\n`)
    },
    line,
    end: clear,
  }
}

function progressLine({ task = '', progress }: LogRecord, columns: number): string {
  if (progress === undefined) return ''
  const { done, total, unit, current = '' } = progress
  const bar =
    total === undefined || total === 0 ? '' : ` ${'█'.repeat(Math.round((done / total) * 20)).padEnd(20, '░')}`
  return printable(`  ${task}${bar} ${done}${total === undefined ? '' : `/${total}`} ${unit} ${current}`).slice(
    0,
    Math.max(20, columns - 1),
  )
}

function endLine(record: LogRecord, paint: ReturnType<typeof painter>): string {
  const { outcome = '', task = '', reason, durationMs = 0, actions = 0, remaining } = record
  const good = outcome === 'succeeded'
  const colour = good ? 'green' : outcome === 'failed' || outcome === 'timed-out' ? 'red' : 'yellow'
  const parts = [
    actions === 0 ? 'nothing to do' : `${actions} action${actions === 1 ? '' : 's'}`,
    formatDuration(Math.max(1, Math.round(durationMs))),
    remaining === undefined ? undefined : `${remaining} remaining`,
    reason,
  ]
  return `${paint(good ? '✔' : '✖', colour)} ${task} ${paint(outcome, colour)}: ${printable(parts.filter((part) => part !== undefined).join(', '))}`
}
