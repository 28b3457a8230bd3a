import { defineConfig, mergeConfig } from 'vitest/config'
import { shared } from '../../vitest.shared.js'

export default mergeConfig(
  defineConfig(shared),
  defineConfig({ test: { globalSetup: ['@battlescope/postgres-testing/global-setup'] } }),
)
