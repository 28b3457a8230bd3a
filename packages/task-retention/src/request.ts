/** What a command may ask of one run of retention, beside the schedule. A request says everything: whatever was done is in the catalog. */
import { z } from 'zod'

const month = z.string().regex(/^\d{4,6}-(0[1-9]|1[0-2])$/, { error: 'a month such as 2020-01' })

const restoreRequest = z.strictObject({
  do: z.literal('restore'),
  /** The same in every run of one restore, so that its hold is made once. */
  id: z.uuid(),
  /** Months of the rows that decided, in UTC, both included. */
  from: month,
  to: month,
  /** Relations of policies, as the catalog names them (`public.battles`). Absent: all. */
  relations: z.array(z.string()).min(1).optional(),
  /** Milliseconds that the rows stay at least. Absent: `holdAfterRestore`. */
  holdMs: z.number().int().positive().optional(),
  /** Restores rows although columns of theirs are gone; what was in them stays in the archive alone. */
  ignoreDroppedColumns: z.boolean().default(false),
})

const adoptRequest = z.strictObject({ do: z.literal('adopt') })

export const retentionRequest = z.discriminatedUnion('do', [restoreRequest, adoptRequest])

export type RestoreRequest = z.output<typeof restoreRequest>
export type RetentionRequest = z.output<typeof retentionRequest>
