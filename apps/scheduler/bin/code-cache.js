'use strict'
/**
 * Evaluates the program's own files from V8's code cache, where one was made for exactly this text, this Node and its flags; otherwise as
 * usual. Nothing is ever written here: caches are made at build time (scripts/make-code-cache.mjs).
 *
 * The name says what a cache is for, because V8 does not look close enough: it accepts one that was made of another text of the same
 * length, and then runs the old code.
 */
const { createHash } = require('node:crypto')
const { readFileSync } = require('node:fs')
const { basename, dirname, join } = require('node:path')
const { Script } = require('node:vm')
const { asAtStart, requireBuiltin } = require('./short-run.js')

/** V8 compares its flags, too, but then the cache would have been read for nothing. */
const environment = [process.version, process.arch, process.env.NODE_OPTIONS ?? '', ...process.execArgv].join('\n')

/** NODE_DEBUG=code-cache tells which files were taken from it. */
const talks = (process.env.NODE_DEBUG ?? '').split(',').includes('code-cache')

/**
 * @param {string} folder the built program's
 * @returns `load(path)` evaluates a file below it; `scripts` are those that were, with the path of their cache
 */
function codeCache(folder) {
  const scripts = []

  function load(path) {
    const bytes = readFileSync(path)
    const name = createHash('sha256').update(bytes).update(environment).digest('hex')
    const cachePath = join(folder, 'cache', name)
    const cachedData = readIfThere(cachePath)
    // The build writes ASCII alone: taken as bytes, so that V8 keeps one byte per character.
    const wrapped = `(function (exports, require, module, __filename, __dirname) {${bytes.latin1Slice()}\n})`
    const script = asAtStart(() => new Script(wrapped, { filename: path, cachedData }))
    const isAccepted = cachedData !== undefined && script.cachedDataRejected !== true
    if (talks) process.stderr.write(`code cache: ${basename(path)} ${describe(cachedData, isAccepted)}\n`)
    scripts.push({ script, cachePath, isAccepted })
    const module = { exports: {} }
    script.runInThisContext()(module.exports, requireFrom, module, path, dirname(path))
    return module.exports
  }

  const builtins = new Map()

  function requireFrom(specifier) {
    if (specifier.startsWith(folder)) return load(specifier)
    if (!builtins.has(specifier)) builtins.set(specifier, requireBuiltin(specifier))
    return builtins.get(specifier)
  }

  return { load, scripts }
}

function readIfThere(path) {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

function describe(cachedData, isAccepted) {
  if (cachedData === undefined) return 'has none'
  return isAccepted ? 'accepted' : 'rejected'
}

module.exports = { codeCache }
