/** What `status` says of alerts: what fires, what is muted, what could not be delivered. */
import type { PostgresAlertStore } from '@battlescope/scheduler-core'
import type { Output } from '../output.js'

/** Dead letters shown; the rest is counted. */
const mostDeadLetters = 20

export async function alertStatus(store: PostgresAlertStore) {
  const { rows, mutes, told, channels } = await store.read()
  const deadLetters = channels.some((channel) => channel.deadLetters > 0)
    ? await store.selectDeadLetters(mostDeadLetters)
    : []
  return {
    open: rows
      .filter(({ state }) => state !== 'resolved')
      .map(({ name, key, state, severity, summary, details, firstSeenAt, openedAt, flapping, silence }) => ({
        name,
        key,
        state,
        severity,
        summary,
        details,
        firstSeenAt,
        openedAt: openedAt ?? null,
        flapping,
        silence: silence ?? null,
        toldTo: told.filter((each) => each.name === name && each.state === 'open').map(({ channel }) => channel),
      })),
    muted: mutes,
    channels,
    deadLetters,
  }
}

export function presentAlerts(
  output: Output,
  { open, muted, channels, deadLetters }: Awaited<ReturnType<typeof alertStatus>>,
): void {
  if (open.length > 0) {
    output.line()
    output.table(
      ['alert', 'severity', 'state', 'since', 'told to', 'what'],
      open.map((alert) => [
        alert.name,
        output.paint(alert.severity, alert.severity === 'error' || alert.severity === 'critical' ? 'red' : 'yellow'),
        alert.flapping ? `${alert.state}, flapping` : alert.state,
        (alert.openedAt ?? alert.firstSeenAt).toISOString(),
        alert.silence ?? (alert.toldTo.join(', ') || 'nobody'),
        alert.summary,
      ]),
    )
  }
  for (const { pattern, until, reason } of muted)
    output.line(`muted: ${pattern} until ${until.toISOString()}${reason === undefined ? '' : `: ${reason}`}`)
  for (const { channel, waiting, lastFailure } of channels)
    if (waiting > 0)
      output.line(
        `${output.paint('waiting', 'yellow')} for ${channel}: ${waiting} messages${lastFailure === undefined ? '' : `; last failure: ${lastFailure}`}`,
      )
  for (const letter of deadLetters)
    output.line(
      `${output.paint('not delivered', 'red')} to ${letter.channel}: ${letter.name} ${letter.transition} of ${letter.at.toISOString()}: ${letter.reason}`,
    )
  const more = channels.reduce((sum, channel) => sum + channel.deadLetters, 0) - deadLetters.length
  if (more > 0) output.line(output.paint(`and ${more} more that were not delivered`, 'dim'))
}
