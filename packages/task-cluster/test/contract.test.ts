import { describeTaskContract } from '@battlescope/scheduler-testing'
import { cluster } from '../src/index.js'

describeTaskContract(cluster, {
  config: { batchSize: 10 },
  unseeded: async (database) => {
    await database.query('CREATE TABLE public.cluster (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL)')
    await database.query(`INSERT INTO public.cluster VALUES (0, now() + interval '1 day'), (1, now())`)
  },
  seed: async (database) => {
    await database.query(
      `INSERT INTO public.cluster SELECT i, now() - interval '2 hours' FROM generate_series(2, 26) AS i`,
    )
  },
})
