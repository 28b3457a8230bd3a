import { keyTables, parseRelationPattern } from '@battlescope/database'
import { duration, parsable, size } from '@battlescope/scheduler-core'
import { z } from 'zod'

const relation = parsable('the name of a relation', parseRelationPattern)

export const reindexConfig = z.object({
  relations: z
    .array(relation)
    .default([...keyTables])
    .describe(
      'Tables whose indexes are kept: schema.name, name (schema public), schema.*, or with the wildcards * and ?; quote odd names: "We.ird"."Name".',
    ),
  exclude: z.array(relation).default([]).describe('Tables to leave out, in the same forms.'),
  excludeIndexes: z.array(relation).default([]).describe('Indexes never to rebuild, in the same forms.'),
  when: z
    .enum(['grown', 'grown-or-estimated'])
    .default('grown')
    .describe(
      'grown: only what grew since it was smallest; the first run rebuilds nothing. grown-or-estimated: also what is too large by the estimate alone, its error taken off.',
    ),
  growthRatio: z
    .number()
    .min(1.1)
    .max(100)
    .default(2)
    .describe(
      'How many times its best size per tuple an index must have. An index under random inserts rests near 1.3 times its size when built.',
    ),
  minWaste: size()
    .prefault('64MiB')
    .describe(
      'Bytes that a rebuild must give back at least, whatever the ratio: below, the work costs more than it saves.',
    ),
  indexesPerRun: z
    .number()
    .int()
    .min(1)
    .max(20)
    .default(2)
    .describe('Indexes that one run rebuilds at most, one after another.'),
  minInterval: duration()
    .prefault('6d')
    .describe(
      'How long an index is left alone after a rebuild. After one that did not end: a day, doubled each time, up to this.',
    ),
  assumedRate: size()
    .prefault('16MiB')
    .describe(
      'Bytes of table and index that a rebuild gets through in a second, until rebuilds here have shown the rate.',
    ),
  freeSpace: size()
    .optional()
    .describe(
      'Bytes that rebuilds may take on the disk. SQL cannot ask for free space, so by default there is no limit. An index needs twice its size: the copy and its WAL.',
    ),
  maxTransactionAge: duration()
    .prefault('30s')
    .describe(
      'Age of a transaction from which on none is begun: REINDEX CONCURRENTLY waits for every older transaction of the database.',
    ),
  maxReplicaLag: duration()
    .prefault('30s')
    .describe(
      'Lag of a replica from which on none is begun. A lag that cannot be read counts as too much: GRANT pg_monitor.',
    ),
  lockTimeout: duration()
    .prefault('10s')
    .describe(
      'How long a rebuild waits for one lock or one older transaction; then it is given up, and its leftover dropped.',
    ),
  confirmUpTo: size()
    .prefault('256MiB')
    .describe(
      'Largest index that pgstattuple, where it is installed, is asked about before a rebuild: it reads the whole index.',
    ),
  reportUnusedAfter: duration()
    .prefault('30d')
    .describe(
      'How long an index must have been seen without a scan, and statistics not reset, until it is reported as unused.',
    ),
  reportFrom: size()
    .prefault('1MiB')
    .describe('Smallest table or index that findings on duplicate, unused and missing indexes are about.'),
})

export type ReindexConfig = z.output<typeof reindexConfig>
