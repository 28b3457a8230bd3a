import type { ViteUserConfig } from 'vitest/config'

const conditions = ['@battlescope/source', 'module', 'node', 'development|production']

/** What every package's vitest configuration shares: packages of this repository are read from source, never from `dist`. */
export const shared: ViteUserConfig = {
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    // Only for what hangs: on a busy machine a test may take ten times as long as alone.
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
}
