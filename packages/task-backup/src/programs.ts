/**
 * Programs beside this process, as a kind of client: what a task may start, and what it may only ask. `pg_dump` reads, so a reader may
 * dump; whatever else a command does, nobody knows, so only a writer may run one.
 */
import type {} from '@battlescope/scheduler-core'

export interface ProgramReader {
  /** Whether there is such a program, by path or on PATH, that may be executed. */
  readonly has: (program: string) => Promise<boolean>
  /**
   * What the program says of its version: its first line.
   * @throws ProgramError `program-missing`, `program-failed`
   */
  readonly version: (program: string, options?: ProgramOptions) => Promise<string>
  /**
   * `pg_dump --format=custom` of the scheduler's own database. Throws at its end when pg_dump failed: what came before is then good for nothing.
   * @throws ProgramError
   */
  readonly dump: (options: ProgramOptions & { readonly compressionLevel: number }) => AsyncIterable<Uint8Array>
  /**
   * Gives a dump to pg_restore, for its list of contents, or, with `deep`, to unpack all of it into nothing. Reads `body` to its end.
   * @returns lines of the list @throws ProgramError when pg_restore does not understand it
   */
  readonly inspectDump: (
    body: AsyncIterable<Uint8Array>,
    options?: ProgramOptions & { readonly deep?: boolean },
  ) => Promise<number>
}

export interface ProgramRunner extends ProgramReader {
  /** Runs a program to its end, or to its deadline. @throws ProgramError `program-missing`; the signal's reason when aborted */
  readonly run: (command: Command) => Promise<Exited>
  /**
   * Gives a dump to pg_restore, into the database that the client was opened for, in one transaction: all of it or nothing.
   * @throws ProgramError
   */
  readonly restore: (
    body: AsyncIterable<Uint8Array>,
    options?: ProgramOptions & { readonly noOwner?: boolean },
  ) => Promise<void>
}

export interface ProgramOptions {
  readonly signal?: AbortSignal
}

export interface Command extends ProgramOptions {
  readonly program: string
  /** No shell reads them. */
  readonly args: readonly string[]
  /** Milliseconds, then SIGTERM, and SIGKILL a little later, to it and to what it started. */
  readonly timeoutMs: number
  /** Names of variables of our own environment that are handed on. */
  readonly environment?: readonly string[]
  /** Hand on PGHOST, PGUSER, PGPASSWORD, …. */
  readonly withConnection?: boolean
}

export interface Exited {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  readonly timedOut: boolean
  /** Both of its outputs, in the order in which they came; the beginning is cut off where it is long. */
  readonly log: string
}

export type ProgramErrorCode = 'program-missing' | 'program-denied' | 'program-failed'

/** A program that is not there, or did not do what it was started for. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError'
  readonly code: ProgramErrorCode
  readonly hint: string | undefined
  constructor(code: ProgramErrorCode, message: string, hint?: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

declare module '@battlescope/scheduler-core' {
  interface ClientTypes {
    program: { read: ProgramReader; write: ProgramRunner }
  }
}
