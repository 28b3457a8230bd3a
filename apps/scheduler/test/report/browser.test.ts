/** The page in a real browser: phone and desk, light and dark, by keyboard, on paper; and that it asks nothing of any network. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { renderReport } from '../../src/report/page.js'
import { busyFacts, facts, task, withTexts } from './facts.js'

/** What is needed of what axe returns. What runs in the page is text here: the compiler knows no DOM, for the program has none. */
interface AxeResults {
  readonly violations: readonly {
    readonly id: string
    readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
  }[]
  readonly passes: readonly { readonly id: string }[]
}

const names = ['chromium', 'chromium-browser', 'google-chrome', '/usr/bin/chromium']
const found = names.find((name) => spawnSync(name, ['--version']).status === 0)
const missing = found === undefined ? ' (skipped: chromium is not installed; apt-get install chromium)' : ''

const pages = {
  busy: busyFacts(),
  empty: facts({ rows: undefined, why: 'Nothing has run here yet.', tasks: [task('analyze', { last: undefined })] }),
  // Nothing in it where a line could break.
  'long names': withTexts(busyFacts(), (text) => `${text}_${'x'.repeat(400)}`),
  hostile: withTexts(busyFacts(), (text) => `${text}</script><img src=x onerror=alert(1)><script>alert(2)</script>`),
} as const

describe.skipIf(found === undefined)(`in a browser${missing}`, () => {
  let folder: string
  let browser: Browser
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'scheduler-report-'))
    for (const [name, made] of Object.entries(pages)) writeFileSync(join(folder, `${name}.html`), renderReport(made))
    browser = await chromium.launch({
      executablePath: spawnSync('which', [found ?? ''])
        .stdout.toString()
        .trim(),
      args: [
        // Root has no sandbox; whoever runs tests as somebody else loses nothing, for the page is ours.
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
  })
  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  interface Opened {
    readonly page: Page
    /** Errors of the console, uncaught ones, dialogs, and requests for anything but the page. */
    readonly complaints: readonly string[]
  }

  /** In a browser without a network. */
  async function open(
    name: keyof typeof pages,
    { width = 1280, scheme = 'light' }: { readonly width?: number; readonly scheme?: 'light' | 'dark' },
    work: (opened: Opened) => Promise<void>,
  ): Promise<void> {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme: scheme, offline: true })
    try {
      const page = await context.newPage()
      const complaints: string[] = []
      page.on('console', (message) => complaints.push(`console: ${message.text()}`))
      page.on('pageerror', (error) => complaints.push(`error: ${error.message}`))
      page.on('dialog', (dialog) => {
        complaints.push(`dialog: ${dialog.message()}`)
        void dialog.dismiss()
      })
      const address = pathToFileURL(join(folder, `${name}.html`)).href
      page.on('request', (request) => {
        if (request.url() !== address) complaints.push(`request: ${request.url()}`)
      })
      await page.goto(address, { waitUntil: 'load' })
      await work({ page, complaints })
    } finally {
      await context.close()
    }
  }

  const everyPage = Object.keys(pages) as (keyof typeof pages)[]
  const widths = [360, 800, 1280]

  it.each(everyPage.flatMap((name) => widths.map((width) => [name, width] as const)))(
    'the page "%s" fits into %i px, without a request or a complaint',
    async (name, width) => {
      await open(name, { width }, async ({ page, complaints }) => {
        const [content, wide] = await page.evaluate<[number, string[]]>(`(() => {
          for (const details of document.querySelectorAll('details')) details.open = true
          const beyond = [...document.querySelectorAll('body *')].filter((element) =>
            element.closest('.skip, caption, thead') === null && element.getBoundingClientRect().right > innerWidth + 0.5)
          return [document.documentElement.scrollWidth, beyond.map((element) => element.outerHTML.slice(0, 120))]
        })()`)
        expect(wide).toEqual([])
        expect(content).toBeLessThanOrEqual(width)
        expect(complaints).toEqual([])
        expect(await page.title()).not.toBe('')
      })
    },
  )

  it.each(['light', 'dark'] as const)('has its own style in the %s, and another in the other', async (scheme) => {
    await open('busy', { scheme }, async ({ page }) => {
      const background = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
      expect(background).toBe(scheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(16, 21, 27)')
    })
  })

  const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  it.each(
    (['busy', 'empty'] as const).flatMap((name) =>
      (['light', 'dark'] as const).flatMap((scheme) => [360, 1280].map((width) => [name, scheme, width] as const)),
    ),
  )('axe finds nothing on the page "%s" in the %s at %i px', async (name, scheme, width) => {
    await open(name, { width, scheme }, async ({ page }) => {
      // Through the debugger, which the page's own policy does not bind.
      await page.evaluate(axeSource)
      const { violations, passes } = await page.evaluate<AxeResults>(`(() => {
        for (const details of document.querySelectorAll('details')) details.open = true
        return axe.run(document, {
          runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        })
      })()`)
      expect(
        violations.map(({ id, nodes }) => [
          id,
          nodes.slice(0, 3).map(({ html, failureSummary }) => [html, failureSummary]),
        ]),
      ).toEqual([])
      expect(passes.map(({ id }) => id)).toContain('color-contrast')
    })
  })

  it('is read from the first link to the last by keyboard, and one sees where one is', async () => {
    await open('busy', { width: 360 }, async ({ page, complaints }) => {
      const wanted = await page.evaluate<number>("document.querySelectorAll('a[href], summary').length")
      const reached: string[] = []
      for (let index = 0; index < wanted; index += 1) {
        await page.keyboard.press('Tab')
        const [name, outline, inView] = await page.evaluate<[string, string, boolean]>(`(() => {
          const element = document.activeElement
          const { left, right } = element.getBoundingClientRect()
          return [element.tagName + ' ' + element.textContent.trim(), getComputedStyle(element).outlineStyle, left >= 0 && right <= innerWidth]
        })()`)
        expect([name, outline, inView]).toEqual([name, 'solid', true])
        reached.push(name)
      }
      expect(reached[0]).toBe('A Skip to the content')
      expect(new Set(reached.map((name, index) => `${name} ${name.startsWith('SUMMARY') ? index : ''}`)).size).toBe(
        wanted,
      )
      // The last one is a list that is closed.
      await page.keyboard.press('Enter')
      expect(await page.evaluate('document.activeElement.parentElement.open')).toBe(true)
      expect(complaints).toEqual([])
    })
  })

  it('is on paper what it is on the screen, in dark rooms too, and with closed lists open', async () => {
    await open('busy', { scheme: 'dark' }, async ({ page }) => {
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
      const seen = await page.evaluate<Record<string, unknown> & { rows: number }>(`(() => {
        const rows = [...document.querySelectorAll('details tr')]
        return {
          background: getComputedStyle(document.body).backgroundColor,
          text: getComputedStyle(document.body).color,
          navigation: getComputedStyle(document.querySelector('nav')).display,
          hidden: rows.filter((row) => row.getBoundingClientRect().height === 0).length,
          rows: rows.length,
        }
      })()`)
      expect(seen).toEqual({
        background: 'rgb(255, 255, 255)',
        text: 'rgb(0, 0, 0)',
        navigation: 'none',
        hidden: 0,
        rows: seen.rows,
      })
      expect(seen.rows).toBeGreaterThan(4)
    })
  })

  it('shows hostile text as text', async () => {
    await open('hostile', {}, async ({ page, complaints }) => {
      expect(await page.evaluate("document.querySelectorAll('script, img').length")).toBe(0)
      expect(await page.evaluate('document.body.innerText')).toContain('</script><img src=x onerror=alert(1)>')
      expect(complaints).toEqual([])
    })
  })

  it('lets nothing in that somebody adds to it: the policy holds', async () => {
    const added = renderReport(pages.busy).replace(
      '</body>',
      '<script>document.title = "taken over"</script><img src="http://192.0.2.1/x.png"><p id="added" style="color: rgb(1, 2, 3)">x</p></body>',
    )
    writeFileSync(join(folder, 'busy.html'), added)
    try {
      await open('busy', {}, async ({ page, complaints }) => {
        expect(await page.title()).not.toBe('taken over')
        expect(await page.evaluate("getComputedStyle(document.querySelector('#added')).color")).not.toBe('rgb(1, 2, 3)')
        expect(
          complaints.filter((complaint) => complaint.includes('Content Security Policy')).length,
        ).toBeGreaterThanOrEqual(3)
      })
    } finally {
      writeFileSync(join(folder, 'busy.html'), renderReport(pages.busy))
    }
  })
})
