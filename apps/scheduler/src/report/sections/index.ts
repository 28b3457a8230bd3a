/** The sections of the page, in order. A new one is a file beside this and a line here. */
import type { ReportFacts } from '../facts.js'
import { actions } from './actions.js'
import { attention } from './attention.js'
import { findings } from './findings.js'
import { growth } from './growth.js'
import { nextSlots } from './next-slots.js'
import { overview } from './overview.js'
import { problems } from './problems.js'
import { rows } from './rows.js'
import type { Section } from './section.js'
import { tasks } from './tasks.js'
import { timeline } from './timeline.js'

export const sections: readonly ((facts: ReportFacts) => Section)[] = [
  attention,
  overview,
  timeline,
  tasks,
  problems,
  findings,
  nextSlots,
  rows,
  growth,
  actions,
]
