'use strict'
const { join } = require('node:path')

/** What every run needs, by name: functions that evaluate a part. */
const here = {/* parts */}

/** Evaluated parts, by name. */
const evaluated = new Map()

function load(name) {
  const known = evaluated.get(name)
  if (known !== undefined) return known.exports
  const evaluate = here[name] ?? require(join(__dirname, 'parts', name.replace(/\.js$/, '.cjs')))
  const part = { exports: {} }
  // Before it is evaluated: parts may need each other.
  evaluated.set(name, part)
  try {
    evaluate(part, part.exports, requireFromPart)
  } catch (error) {
    evaluated.delete(name)
    throw error
  }
  return part.exports
}

function requireFromPart(specifier) {
  return specifier.startsWith('./') ? load(specifier) : require(specifier)
}

module.exports = load('./main.js')
