/** What every package's vitest configuration shares: packages of this repository are read from source, never from `dist`. */
export const shared = {
  resolve: { conditions: ['@battlescope/source', 'module', 'node', 'development|production'] },
  ssr: { resolve: { conditions: ['@battlescope/source', 'module', 'node', 'development|production'] } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
} as const
