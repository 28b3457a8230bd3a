/** The page: one HTML file that asks nothing of any network and runs no script. Pure. */
import { createHash } from 'node:crypto'
import type { ReportFacts } from './facts.js'
import { duration, instant } from './figures.js'
import { html, type Content } from './html.js'
import { sections } from './sections/index.js'
import { styleSheet } from './style.js'

export function renderReport(facts: ReportFacts): string {
  const made = sections.map((section) => section(facts))
  const { period, database } = facts
  const title = `Scheduler report: ${database.name}, ${instant(period.to)} UTC`
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <meta name="robots" content="noindex" />
        <title>${title}</title>
        <link rel="icon" href="data:," />
        ${style}
      </head>
      <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header>
          <h1>Scheduler report</h1>
          <p>
            Database <b>${database.name}</b>, PostgreSQL ${database.version}. From
            <time datetime="${period.from.toISOString()}">${instant(period.from)}</time> to
            <time datetime="${period.to.toISOString()}">${instant(period.to)}</time>; all times are
            UTC.${missing(facts)}
          </p>
          <nav aria-label="Sections">
            <ul>
              ${made.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li> `)}
            </ul>
          </nav>
        </header>
        <main id="main" tabindex="-1">
          ${made.map(
            ({ id, title: name, lead, body }) =>
              html`<section id="${id}" aria-labelledby="${id}-title">
                <h2 id="${id}-title">${name}</h2>
                ${lead === undefined ? undefined : html`<p class="lead">${lead}</p>`} ${body}
              </section> `,
          )}
        </main>
        <footer>
          <p>
            Made by battlescope-scheduler ${facts.version} from the history in PostgreSQL. Sizes are in powers of 1024
            (1 KiB = 1024 B).
          </p>
        </footer>
      </body>
    </html> `
  return page.toString()
}

// The policy has the hash of exactly what stands between the tags.
// prettier-ignore
const style = html`<style>${styleSheet}</style>`

/** Nothing may be loaded, and no style but ours applies; `data:` is the empty icon, without which browsers ask for one. */
const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(styleSheet.toString()).digest('base64')}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** History that is not there because it is not kept, or had not begun. */
function missing({ rows, period, historyKeptMs }: ReportFacts): Content {
  const oldestAt = rows?.runTotals.oldestAt
  if (oldestAt === undefined || oldestAt.getTime() <= period.from.getTime() + period.partMs) return undefined
  return ` Runs are on record since ${instant(oldestAt)}; they are kept for ${duration(historyKeptMs)}.`
}
