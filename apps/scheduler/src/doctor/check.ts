/** One line of what `doctor` says. */
export interface Check {
  readonly check: string
  readonly result: 'ok' | 'warn' | 'fail'
  readonly detail: string
  /** What mends it: SQL, or words. */
  readonly mend?: string
}
