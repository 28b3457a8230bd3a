/** What commands may ask of a run of this task. */
import { z } from 'zod'
import { isDay } from './days.js'

const day = z.string().refine(isDay, { error: 'a day such as 2026-11-23' })

export const requestSchema = z.discriminatedUnion('do', [
  z
    .object({
      do: z.literal('recalculate'),
      from: day.describe('The first day.'),
      to: day.describe('The last day, included.'),
    })
    .refine(({ from, to }) => from <= to, { error: 'from must not be after to' }),
  z.object({ do: z.literal('install-triggers') }),
  z.object({ do: z.literal('remove-triggers') }),
])
