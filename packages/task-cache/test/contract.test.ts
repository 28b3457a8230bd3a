import { describeTaskContract } from '@battlescope/scheduler-testing'
import { cache } from '../src/index.js'

describeTaskContract(cache, {
  config: { batchSize: 10 },
  unseeded: async (database) => {
    await database.query('CREATE TABLE public.cache (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL)')
    await database.query(`INSERT INTO public.cache VALUES (0, now() + interval '1 day'), (1, now())`)
  },
  seed: async (database) => {
    await database.query(
      `INSERT INTO public.cache SELECT i, now() - interval '2 hours' FROM generate_series(2, 26) AS i`,
    )
  },
})
