import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { limits } from '../src/testing/index.js'
import { routingKey } from './examples.js'
import { channelsOf } from './messages.js'

const page = readFileSync(new URL('../../../docs/alert-providers.md', import.meta.url), 'utf8')

/** Cells of the table under `heading` whose first row names `column`. */
function rowsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}
const between = (from: string, to: string) => page.slice(page.indexOf(from) + from.length, page.indexOf(to))

describe('docs/alert-providers.md', () => {
  it('has every limit, with its page', () => {
    const [, , ...rows] = rowsOf(between('<!-- limits:start -->', '<!-- limits:end -->'))
    expect(rows).toEqual(
      limits.map(({ provider, rule, source, page: url, note = '' }) => [provider, rule, `[${source}](${url})`, note]),
    )
  })

  it('says for each transition what each provider gets: a dash where the channel wants none', () => {
    const [head, , ...rows] = rowsOf(between('## What happens when', '## Setting up'))
    const { channels } = channelsOf({
      pagerduty: { routingKey },
      jsm: { apiKey: 'a-key-of-an-api' },
      slack: { webhookUrl: 'https://hooks.slack.com/services/x' },
      webhook: { url: 'https://example.com', unsigned: true },
    })
    const columns = { pagerduty: 'PagerDuty', jsm: 'Jira Service Management', slack: 'Slack', webhook: 'webhook' }
    for (const channel of channels) {
      const column = head!.indexOf(columns[channel.name as keyof typeof columns])
      const wanted = rows.filter((row) => row[column] !== '–').map(([transition]) => transition!.split(' ')[0]!)
      expect([channel.name, wanted.sort()]).toEqual([
        channel.name,
        channel.kind === 'state' ? [] : [...channel.transitions].sort(),
      ])
    }
  })
})
