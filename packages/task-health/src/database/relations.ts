/** Indexes, sequences and tables that will not do what somebody relies on. */
import { z } from 'zod'
import { defineCheck, measured, type Found } from '../check.js'
import { selectRelations } from './relation-queries.js'
import { sharedReading } from './shared-reading.js'

const readRelations = sharedReading(({ db }) => selectRelations(db))
const hourMs = 3_600_000

export const invalidIndexes = defineCheck({
  key: 'invalid-indexes',
  group: 'database',
  description:
    'Indexes that a failed CREATE or REINDEX … CONCURRENTLY left: each write maintains them, no query uses them.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 1_800_000,
  options: {},
  hint: 'DROP INDEX CONCURRENTLY it; without the suffix _ccnew or _ccold, build it again',
  // Without it, an index that is being built right now would look like one that is left over.
  needs: () => ({ roles: ['pg_read_all_stats'] }),
  read: async (context) => measured(await readRelations(context)),
  judge: ({ invalidIndexes: invalid }) =>
    invalid.map(({ index, relation }): Found => ({
      subject: index,
      summary: `the index ${index} of ${relation} is invalid, and nobody is building it`,
      details: { relation },
    })),
  gauges: ({ invalidIndexes: invalid }) => ({ invalid_indexes: invalid.length }),
})

export const sequences = defineCheck({
  key: 'sequences',
  group: 'database',
  description: 'Sequences and identity columns near their end, which is that of the column where its type is smaller.',
  interval: hourMs,
  severity: 'error',
  holdDownMs: 0,
  options: {
    ratio: z.number().min(0.1).max(1).default(0.8).describe('Share of the values, from which on it is found.'),
  },
  hint: 'ALTER TABLE … ALTER COLUMN … TYPE bigint rewrites the table: plan it; the sequence needs AS bigint, too',
  read: async (context) => measured(await readRelations(context)),
  judge: ({ sequences: all, unreadableSequences, user }, { ratio }) => [
    ...all
      .filter(({ usedRatio }) => usedRatio >= ratio)
      .map(({ name, usedRatio, last, end, column }): Found => ({
        subject: name,
        ...(usedRatio >= 0.95 ? { severity: 'critical' as const } : {}),
        summary: `the sequence ${name} has used ${Math.floor(usedRatio * 100)} % of its values (${last} of ${end}), the threshold is ${Math.round(ratio * 100)} %`,
        details: { usedRatio, last, end, column: column ?? null },
      })),
    ...(unreadableSequences.length === 0
      ? []
      : [
          {
            subject: 'unreadable',
            severity: 'info' as const,
            summary: `${unreadableSequences.length} or more sequences may not be read, so that nobody knows how far they are: GRANT SELECT ON SEQUENCE ${unreadableSequences.slice(0, 3).join(', ')} TO ${user}`,
            details: { sequences: unreadableSequences },
          },
        ]),
  ],
  gauges: ({ sequences: all }) => ({ sequence_used_ratio: all[0]?.usedRatio ?? 0 }),
})

export const unloggedRelations = defineCheck({
  key: 'unlogged-relations',
  group: 'database',
  description: 'Unlogged tables: after a crash they are empty, and standbys never have them.',
  interval: hourMs,
  severity: 'info',
  holdDownMs: 0,
  options: {
    expected: z
      .array(z.string())
      .default([])
      .describe('Tables that are meant to be unlogged, as schema.table: they are not reported.'),
  },
  hint: 'ALTER TABLE … SET LOGGED rewrites the table; or name it in the option expected',
  read: async (context) => measured(await readRelations(context)),
  judge: ({ unlogged }, { expected }) =>
    unlogged
      .filter((name) => !expected.includes(name))
      .map((name): Found => ({ subject: name, summary: `the table ${name} is unlogged: a crash empties it` })),
})
