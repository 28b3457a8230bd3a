import { defineConfig, mergeConfig } from 'vitest/config'
import { shared } from './vitest.shared.js'

/** The tests of `scripts/`; every package has its own configuration. */
export default mergeConfig(
  defineConfig(shared),
  defineConfig({ test: { include: ['scripts/**/*.test.{mjs,ts}'], exclude: ['scripts/new-task/**'] } }),
)
