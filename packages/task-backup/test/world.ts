/** A database with some rows, a folder as store, programs and HTTP as the program hands them to tasks, and runs of the task over all of it. */
import { mkdtempSync, rmSync } from 'node:fs'
import * as http from 'node:http'
import * as https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { coldStorageConfig, openStore, readOnly, type Store } from '@battlescope/cold-storage'
import { parseConnectionString } from '@battlescope/database'
import type { ClientFactories, HttpRequest, HttpResponse, TaskRunResult } from '@battlescope/scheduler-core'
import {
  createTestDatabase,
  runOneTask,
  type RunOneTaskOptions,
  type TestDatabase,
} from '@battlescope/scheduler-testing'
import { backupConfig } from '../src/config.js'
import { openPrograms, readingPrograms } from '../src/dumps.js'
import { backup, type ProgramRunner } from '../src/index.js'
import type { BackupState } from '../src/tables.js'

/** Awkward values: what a round trip could lose. */
export const content = `
  CREATE TABLE public.kept (id bigint PRIMARY KEY, at timestamptz NOT NULL, isk numeric, note text, data jsonb, list bigint[], raw bytea);
  INSERT INTO public.kept SELECT i, now() + i * interval '0.000001 s', i / 7.0, CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE E'ü€\\n''\\\\' || i END,
    jsonb_build_object('a', i, 'b', NULL), ARRAY[i, NULL, 9223372036854775807], decode(md5(i::text), 'hex') FROM generate_series(1, 500) AS i;
  CREATE TABLE public.child (id int PRIMARY KEY, kept_id bigint REFERENCES public.kept);
  INSERT INTO public.child SELECT i, i FROM generate_series(1, 50) AS i;
  CREATE INDEX child_kept_idx ON public.child (kept_id);
  CREATE SEQUENCE public.numbers; SELECT nextval('public.numbers') FROM generate_series(1, 7);
  CREATE VIEW public.seen AS SELECT count(*) AS n FROM public.kept;`

export interface Row {
  readonly name: string
  readonly attempt: number
  readonly driver: string
  readonly state: BackupState
  readonly size_bytes: string | null
  readonly checksum: string | null
  readonly object_name: string | null
  readonly location: string | null
  readonly message: string | null
  readonly log_tail: string | null
  readonly started_at: Date | null
  readonly finished_at: Date | null
}

export interface WorldRun extends Partial<Omit<RunOneTaskOptions, 'config'>> {
  readonly config?: Readonly<Record<string, unknown>>
  /** Between the task and the store. */
  readonly wrap?: (store: Store) => Store
  readonly environment?: Readonly<Record<string, string | undefined>>
}

export interface World {
  readonly database: TestDatabase
  readonly url: string
  readonly folder: string
  /** Forced, and no dump is too young: each run is a slot of its own. */
  run(change?: WorldRun): Promise<TaskRunResult>
  rows(): Promise<readonly Row[]>
  store(): Promise<Store>
  names(prefix?: string): Promise<readonly string[]>
  close(): Promise<void>
}

export async function createWorld(defaults: Readonly<Record<string, unknown>> = {}): Promise<World> {
  const database = await createTestDatabase({ template: { name: 'backup', build: content } })
  const folder = mkdtempSync(join(tmpdir(), 'backup-store-'))
  const url = pathToFileURL(folder).href
  const store = () => openStore(coldStorageConfig.parse({ url }))
  return {
    database,
    url,
    folder,
    run: async ({ config, wrap, environment, ...change } = {}) => {
      const { task } = await runOneTask({
        task: backup,
        databaseUrl: database.url,
        force: true,
        config: backupConfig.parse({ minAge: '0s', ...defaults, ...config }),
        clients: clientsFor({
          databaseUrl: database.url,
          storeUrl: url,
          ...(wrap === undefined ? {} : { wrap }),
          ...(environment === undefined ? {} : { environment }),
        }),
        ...change,
      })
      if (task.run === undefined) throw new Error(task.reason)
      return task.run
    },
    rows: () => database.query<Row>('SELECT * FROM scheduler.backup ORDER BY announced_at, name'),
    store,
    async names(prefix = 'backups/') {
      const names: string[] = []
      for await (const { name } of (await store()).list(prefix)) names.push(name)
      return names
    },
    async close() {
      await database.drop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export interface ClientsFor {
  readonly databaseUrl: string
  readonly storeUrl: string
  readonly wrap?: (store: Store) => Store
  readonly environment?: Readonly<Record<string, string | undefined>>
}

export function clientsFor({
  databaseUrl,
  storeUrl,
  wrap = (store) => store,
  environment = process.env,
}: ClientsFor): ClientFactories {
  return {
    ...httpClients,
    store: async () => {
      const opened = await openStore(coldStorageConfig.parse({ url: storeUrl }))
      const store = wrap(opened)
      return { read: readOnly(store), write: store, close: () => opened.close() }
    },
    program: ({ signal }) => {
      const write = programsOf(databaseUrl, environment, signal)
      return Promise.resolve({ read: readingPrograms(write), write, close: () => Promise.resolve() })
    },
  }
}

export function programsOf(
  databaseUrl: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  signal?: AbortSignal,
): ProgramRunner {
  const target = parseConnectionString(databaseUrl)
  return openPrograms({ target, environment, ...(signal === undefined ? {} : { signal }) })
}

/** An error with the codes of the program's client. */
class HttpFailure extends Error {
  constructor(readonly code: string) {
    super(code)
  }
}

function exchange(method: string, request: HttpRequest, body?: string): Promise<HttpResponse> {
  const { url, headers, caCertificate, timeoutMs, signal } = request
  const library = url.startsWith('https:') ? https : http
  return new Promise((resolve, reject) => {
    const sent = library.request(
      url,
      {
        method,
        agent: false,
        timeout: timeoutMs,
        ...(signal === undefined ? {} : { signal }),
        ...(headers === undefined ? {} : { headers: { ...headers, 'content-length': Buffer.byteLength(body ?? '') } }),
        ...(caCertificate === undefined ? {} : { ca: caCertificate }),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: {}, body: Buffer.concat(chunks).toString() }),
        )
      },
    )
    sent.on('timeout', () => sent.destroy(new HttpFailure('ETIMEDOUT')))
    sent.on('error', reject)
    sent.end(body)
  })
}

const httpClients: ClientFactories = {
  http: () => {
    const read = { get: (request: HttpRequest) => exchange('GET', request) }
    const write = {
      ...read,
      post: (request: HttpRequest & { readonly body: string }) => exchange('POST', request, request.body),
      send: (request: HttpRequest & { readonly method: string; readonly body?: string }) =>
        exchange(request.method, request, request.body),
    }
    return Promise.resolve({ read, write, close: () => Promise.resolve() })
  },
}

/** Of all tables and views, row for row, with sequences. */
export async function contentOf(database: Pick<TestDatabase, 'query'>): Promise<unknown> {
  const relations = await database.query<{ name: string; kind: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v', 'S') ORDER BY 1`,
  )
  const contents: Record<string, unknown> = {}
  for (const { name, kind } of relations) {
    // How many numbers are logged ahead is no content.
    const row = kind === 'S' ? 't.last_value, t.is_called' : 't::text AS row'
    contents[name] = await database.query(`SELECT ${row} FROM ${name} t ORDER BY 1`)
  }
  const definitions = await database.query(
    `SELECT pg_get_indexdef(indexrelid) AS text FROM pg_index i JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'public'::regnamespace
     UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1`,
  )
  return { contents, definitions }
}
