import type { AlertContent, AlertMessage, AlertTransition } from '@battlescope/scheduler-core'
import { alertsConfig, createRouting } from '../src/index.js'
import { now } from './stand-ins.js'

export const installation = { name: 'battlescope-test' }

export function content(others: Partial<AlertContent> = {}): AlertContent {
  return {
    key: 'vacuum/xmin-held',
    task: 'vacuum',
    findingKey: 'xmin-held',
    severity: 'error',
    summary: 'a transaction holds back vacuum for 3 hours',
    details: { pid: 4711, query: 'select 1' },
    openedAt: new Date(now.getTime() - 600_000),
    ...others,
  }
}

let made = 0

export function message(transition: AlertTransition, others: Partial<AlertContent> = {}): AlertMessage {
  made += 1
  return {
    id: `00000000-0000-4000-8000-${String(made).padStart(12, '0')}`,
    transition,
    alert: content(others),
    at: now,
  }
}

/** The channels of a configuration as it stands in the file. */
export function channelsOf(options: object) {
  return createRouting(alertsConfig.parse({ ...groups, ...options }), installation)
}

/** As the configuration stage hands them over: every group is there. */
/** Groups of options without any of them given, as the configuration hands them over. */
export const groups = {
  holdDown: {},
  flapping: {},
  pagerduty: {},
  jsm: {},
  alertmanager: {},
  slack: {},
  webhook: {},
  heartbeat: {},
}

/** Texts that break what cuts them at the wrong place. */
export const nasty = `${'😀'.repeat(400)}\u0000\ud800"\\<!channel> & ${'ä'.repeat(2000)}`
