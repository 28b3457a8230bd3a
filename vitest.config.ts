import { defineConfig } from 'vitest/config'

/** The tests of `scripts/`; every package has its own configuration. */
export default defineConfig({ test: { include: ['scripts/**/*.test.mjs'], testTimeout: 60_000, hookTimeout: 120_000 } })
