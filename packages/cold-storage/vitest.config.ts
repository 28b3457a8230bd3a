import { defineConfig } from 'vitest/config'
import { shared } from '../../vitest.shared.js'

// Without the condition "module": under it, the AWS SDK gives out files that only bundlers can read.
const conditions = ['@battlescope/source', 'node', 'development|production']

export default defineConfig({ ...shared, resolve: { conditions }, ssr: { resolve: { conditions } } })
