'use strict'
/**
 * Most runs are over before optimized code could pay for itself, and what makes it works on threads of its own: CPU time and memory for
 * nothing. So a process starts without V8's optimizing compilers, and one that works for longer gets them after all.
 *
 * V8 compares its flags with those that a code cache was made under: whoever makes one starts like this, too.
 */
const { setFlagsFromString } = require('node:v8')

/**
 * Those that are on by default: Maglev from Node 24 on, where what it compiled while the other was off would stay as it is. Before, it is an
 * experiment that stays off.
 */
const compilers = Number.parseInt(process.versions.node, 10) >= 24 ? ['opt', 'maglev'] : ['opt']

/** Milliseconds of CPU time after which a run is a long one. A run that finds nothing to do takes a fifth of this. */
const longRunMs = 1000
const lookEveryMs = 500

/** Whoever turned a compiler off knows why: it stays off, and Node 24 would crash under `--jitless` if it came on. */
const isDecided = /--(jitless|no-?opt|no-?turbofan|no-?maglev)\b/.test(
  [process.env.NODE_OPTIONS ?? '', ...process.execArgv].join(' '),
)

let isOptimizing = true

function optimize(wanted) {
  if (isDecided) return
  for (const compiler of compilers) setFlagsFromString(`--${wanted ? '' : 'no-'}${compiler}`)
  isOptimizing = wanted
}

function startWithoutOptimizing() {
  optimize(false)
  const looking = setInterval(() => {
    const { user, system } = process.cpuUsage()
    if ((user + system) / 1000 < longRunMs) return
    clearInterval(looking)
    optimize(true)
  }, lookEveryMs)
  looking.unref()
}

/** Works with the compilers on or off, whatever they are now. */
function withCompilers(wanted, work) {
  const before = isOptimizing
  if (before === wanted) return work()
  optimize(wanted)
  try {
    return work()
  } finally {
    optimize(before)
  }
}

/**
 * Loads a module of Node's own. They come with a code cache that V8 takes only under the flags that it was made with: under others they are
 * parsed and compiled, which for net, http and tls together takes 25 ms.
 */
const requireBuiltin = (name) => withCompilers(true, () => require(name))

/** Works under the flags that a process starts with: also a long run takes from the program's cache what it reads late. */
const asAtStart = (work) => withCompilers(false, work)

module.exports = { asAtStart, requireBuiltin, startWithoutOptimizing }
