import type { ViteUserConfig } from 'vitest/config'

const conditions = ['@battlescope/source', 'module', 'node', 'development|production']

/** What every package's vitest configuration shares: packages of this repository are read from source, never from `dist`. */
export const shared: ViteUserConfig = {
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
}
