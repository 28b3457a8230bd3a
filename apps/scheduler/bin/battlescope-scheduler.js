#!/usr/bin/env node
'use strict'
// As pid 1 a process has no default action for signals, and loading the program takes a moment: be stoppable from the first line on.
const early = {
  SIGTERM: () => process.exit(143),
  SIGINT: () => process.exit(130),
}
for (const [signal, end] of Object.entries(early)) process.on(signal, end)

const { join } = require('node:path')
const { codeCache } = require('./code-cache.js')
const { startWithoutOptimizing } = require('./short-run.js')

startWithoutOptimizing()

const { main } = codeCache(join(__dirname, '../dist')).load(join(__dirname, '../dist/main.cjs'))

void main({
  argv: process.argv.slice(2),
  appFolder: join(__dirname, '..'),
  // Handed in from here, because a script that runs from V8's code cache cannot import().
  importModule: (url) => import(url),
  takeOverSignals: () => {
    for (const [signal, end] of Object.entries(early)) process.off(signal, end)
  },
})
