'use strict'
/** Runs the program like its loader in `bin/`, and caches, as the process ends, every file that was evaluated and has no cache yet. */
const { writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { codeCache } = require('../bin/code-cache.js')
const { asAtStart, startWithoutOptimizing } = require('../bin/short-run.js')

startWithoutOptimizing()

const folder = join(__dirname, '..')
const { load, scripts } = codeCache(join(folder, 'dist'))
process.on('exit', () => {
  for (const { script, cachePath, isAccepted } of scripts)
    if (!isAccepted) {
      // On a slow machine the run was a long one, and V8 would note flags that no start has.
      writeFileSync(
        cachePath,
        asAtStart(() => script.createCachedData()),
      )
    }
})
void load(join(folder, 'dist/main.cjs')).main({
  argv: process.argv.slice(2),
  appFolder: folder,
  importModule: (url) => import(url),
  takeOverSignals: () => undefined,
})
