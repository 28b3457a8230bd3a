// As small as a task can be, and in plain JavaScript; docs/writing-a-task.md shows the whole, with types.
import { z } from 'zod'

export default {
  apiVersion: 1,
  name: 'hello',
  description: 'says hello in the log',
  schedule: { kind: 'every-run' },
  timeoutMs: 10_000,
  configSchema: z.object({ whom: z.string().default('world').describe('Whom to greet.') }),
  requires: () => ({ relations: [] }),
  async run({ config, logger }) {
    logger.info({ event: 'hello', whom: config.whom }, 'hello')
    return { outcome: 'succeeded' }
  },
}
