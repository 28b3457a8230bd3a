/** From data to HTML, without a database or a browser. */
import { createHash } from 'node:crypto'
import { mostTasks, partsOf } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { concerns } from '../../src/report/attention.js'
import { renderReport } from '../../src/report/page.js'
import { sections } from '../../src/report/sections/index.js'
import { scrubbed } from '../../src/report/scrub.js'
import { busyFacts, facts, now, noCounts, period, state, task, withTexts } from './facts.js'

/** Every element opens and closes where it must, and every attribute is quoted. @returns the names of all elements */
function elementsOf(page: string): readonly string[] {
  const empty = new Set(['meta', 'link'])
  const open: string[] = []
  const names: string[] = []
  const body = page.replace(/<style>[^<]*<\/style>/, '').replace('<!doctype html>', '')
  for (const [tag, closing, name = '', attributes = ''] of body.matchAll(/<(\/?)([a-z0-9]*)([^>]*)>/g)) {
    if (closing === '/') expect(open.pop(), tag).toBe(name)
    else {
      expect(name, tag).not.toBe('')
      expect(attributes.replace(/\s+[a-zA-Z0-9-]+="[^"<>]*"/g, '').trim(), tag).toMatch(/^\/?$/)
      names.push(name)
      if (!empty.has(name) && !attributes.endsWith('/')) open.push(name)
    }
  }
  expect(open).toEqual([])
  expect(body.replace(/<[^>]*>/g, '')).not.toMatch(/[<>]/)
  return names
}

describe('the page', () => {
  const page = renderReport(busyFacts())

  it('is well-formed, and brings no script, no inline style, no address', () => {
    const names = new Set(elementsOf(page))
    for (const name of ['script', 'iframe', 'img', 'object', 'form', 'base']) expect(names).not.toContain(name)
    expect(page).not.toMatch(/\sstyle=|\son[a-z]+=|https?:|url\(|@import/)
    expect(
      [...page.matchAll(/href="([^"]*)"/g)]
        .map(([, target]) => target)
        .filter((target) => !/^(#|data:,$)/.test(target ?? '')),
    ).toEqual([])
  })

  it('allows by its policy exactly its own style', () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/
      .exec(page.replace(/\n/g, ' '))?.[1]
      ?.replaceAll('&#39;', "'")
    const style = /<style>([^<]*)<\/style>/.exec(page)?.[1] ?? ''
    expect(style.length).toBeGreaterThan(1000)
    expect(policy).toBe(
      `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; img-src data:; base-uri 'none'; form-action 'none'`,
    )
  })

  it('links to every section, and names each once', () => {
    const ids = sections.map((section) => section(busyFacts()).id)
    expect([...page.matchAll(/<section id="([^"]*)"/g)].map(([, id]) => id)).toEqual(ids)
    for (const id of ids) expect(page).toContain(`href="#${id}"`)
    const all = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id)
    expect(new Set(all).size).toBe(all.length)
  })

  it('says what ran, how it went and where it leads', () => {
    for (const text of [
      'battlescope',
      '8,006',
      '6 with an exit code other than 0',
      '2 failures in a row. Last: the store does not answer. Next try in 10 min.',
      'cold storage cannot be reached',
      '2026-11-25 19:07',
      'Known from earlier, not enabled or not loaded: cache.',
      '713,000',
      'not analyzed',
    ])
      expect(page.replace(/\s+/g, ' ')).toContain(text)
  })
})

describe('an empty page', () => {
  it('says that nothing ran yet', () => {
    const page = renderReport(facts({ rows: undefined, why: 'Nothing has run here yet.' }))
    elementsOf(page)
    expect(page.match(/Nothing has run here yet\./g)?.length).toBeGreaterThan(1)
    expect(page).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('has a sentence for every section without rows', () => {
    const page = renderReport(facts({ tasks: [task('analyze', { last: undefined })] }))
    elementsOf(page)
    for (const text of [
      'Nothing to say yet: no run is on record.',
      'Nothing ran in this period.',
      'No task failed',
      'Nothing was deleted or archived',
      'No size was measured',
      'No change was made',
      'found nothing that a human should know',
    ])
      expect(page.replace(/\s+/g, ' ')).toContain(text)
    expect(page).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('makes no course of one day', () => {
    const { rows } = busyFacts()
    const [point] = rows!.growth.total.slice(-1)
    const growth = {
      relationCount: 1,
      total: [point!],
      relations: rows!.growth.relations.slice(0, 1).map((one) => ({ ...one, points: [point!] })),
    }
    const page = renderReport(facts({ rows: { ...rows!, growth } })).replace(/\s+/g, ' ')
    expect(page).toContain('a course needs two, a forecast 7')
    expect(page).toContain('too few days')
  })
})

describe('hostile text', () => {
  const hostile = [
    `</script><img src=x onerror=alert(1)>`,
    `"><svg/onload=alert(1)>`,
    `' onmouseover='alert(1)`,
    `</style><script>alert(1)</script>`,
    `</title></section></main>`,
    `&lt;b&gt; &amp; <!-- -->`,
    `\u202egnp.exe\u0000\u001b[31m`,
  ]

  it.each(hostile)('%j stays text wherever it comes from', (text) => {
    const plain = elementsOf(renderReport(busyFacts()))
    const page = renderReport(withTexts(busyFacts(), () => text))
    // Tasks of one name share a lane.
    expect(new Set(elementsOf(page))).toEqual(new Set(plain))
    const shown = page
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&quot;', '"')
      .replaceAll('&#39;', "'")
      .replaceAll('&amp;', '&')
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    expect(shown).toContain(text.replace(/[\u0000\u001b\u202e]/g, '\u{fffd}'))
    expect(page).not.toMatch(/<(script|img)|\son[a-z]+="/)
  })

  it('in secrets is taken out before it becomes markup', () => {
    const secret = `pa&ss<"word`
    const told = scrubbed(
      withTexts(busyFacts(), (text) => `${text} ${secret}`),
      (text) => text.replaceAll(secret, '•••'),
    )
    const page = renderReport(told)
    expect(page).toContain('•••')
    expect(page).not.toContain('pa&amp;ss')
  })
})

describe('a long history', () => {
  it('makes no long page', () => {
    const names = Array.from({ length: 300 }, (_, index) => `task-${String(index).padStart(3, '0')}`)
    const busy = busyFacts(names.slice(0, mostTasks + 1))
    const page = renderReport({
      ...busy,
      tasks: names.map((name) =>
        task(name, { findings: busy.tasks[1]!.findings, state: state({ consecutiveFailures: 1 }) }),
      ),
      notEnabled: names.map((name) => `old-${name}`),
      rows: { ...busy.rows!, problems: Array.from({ length: 21 }, () => busy.rows!.problems[0]!) },
    })
    elementsOf(page)
    expect(page.match(/class="strip"/g)).toHaveLength(mostTasks + 1)
    expect(page).toContain('and 260 more')
    expect(page).toContain('The worst 60 of 300 are shown')
    expect(Buffer.byteLength(page)).toBeLessThan(1_500_000)
  })

  it('cuts long texts and says so', () => {
    const page = renderReport(withTexts(busyFacts(), (text) => text + 'x'.repeat(5000)))
    expect(page).toContain('more characters)')
  })
})

describe('what needs attention', () => {
  const texts = (change: Parameters<typeof facts>[0]) =>
    concerns(facts(change)).map(({ severity, subject, text }) => `${severity} ${subject}: ${text}`)
  const at = (minutes: number) => new Date(now.getTime() + minutes * 60_000)
  const rowsAt = (newestAt: Date) => ({ ...facts().rows!, runTotals: { ...facts().rows!.runTotals, newestAt } })

  it('is nothing when all is well', () => {
    expect(texts({ tasks: [task('a', { state: state() })], rows: rowsAt(at(-14)) })).toEqual([])
  })

  it('is a scheduler that nothing starts', () => {
    expect(texts({ rows: rowsAt(at(-16)) })).toEqual([
      'error scheduler: The last run ended 16 min ago, at 2026-11-25 17:51; one is expected every 5 min.',
    ])
  })

  it('is what is stuck, paused, failing, late or disabled, worst first', () => {
    const claim = {
      ticket: 't',
      runId: 'r',
      slotId: 's',
      holder: 'pod-7/1',
      claimedAt: at(-20),
      expiresAt: at(-10),
      expired: true,
    }
    expect(
      texts({
        tasks: [
          task('paused', { state: state({ paused: { at: at(-60), until: undefined, reason: 'by hand' } }) }),
          task('late', { state: state(), next: { due: true, at: at(-20), reason: '' } }),
          task('stuck', { state: state({ claim }) }),
          task('new', { next: { due: true, at: at(-200), reason: 'first slot' } }),
        ],
        disabled: [{ name: '@acme/loot', reason: 'is not installed' }],
      }),
    ).toEqual([
      'error @acme/loot: Disabled: is not installed',
      'error stuck: Stuck: the claim of pod-7/1 expired 10 min ago; the next run frees it.',
      'warning paused: Paused since 2026-11-25 17:07, until somebody resumes it: by hand.',
      'warning late: Its slot of 2026-11-25 17:47 has been waiting for 20 min.',
    ])
  })
})

describe('the timeline', () => {
  it('shows the worst of each part, and nothing where nothing ran', () => {
    const at = partsOf(period)[5]!
    const counts = { ...noCounts, succeeded: 30, 'timed-out': 1 }
    const rows = { ...facts().rows!, taskParts: [{ task: 'work', at, counts, longestMs: 900 }] }
    const page = renderReport(facts({ tasks: [task('work')], rows })).replace(/\s+/g, ' ')
    const lane =
      /<svg class="strip"[^>]*aria-label="runs of work: in 1 part of the period, in 1 of them at least one failure".*?<\/svg>/.exec(
        page.slice(page.indexOf('id="timeline"')),
      )?.[0]
    expect(lane?.match(/<g /g)).toHaveLength(1)
    expect(lane).toContain('class="timed-out"')
    expect(lane).toContain('1 timed out, 30 succeeded; longest 900 ms')
  })
})
