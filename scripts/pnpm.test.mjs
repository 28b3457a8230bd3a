import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { exitCodeOf } from './pnpm.mjs'

const wrapper = `
  import { run } from ${JSON.stringify(new URL('./pnpm.mjs', import.meta.url).href)}
  process.exitCode = await run(process.execPath, ['-e', process.argv[1]], {})
`

/** Starts a program under `run`, waits until it says "ready", and returns the wrapper and what was printed so far. */
async function start(program) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', wrapper, program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8')
  /** @type {Promise<void>} */
  const ready = new Promise((resolve) => {
    child.stdout.on('data', (chunk) => {
      output += chunk
      if (output.includes('ready')) resolve()
    })
  })
  const ended = once(child, 'close')
  await ready
  return { child, ended, output: () => output }
}

describe('run', () => {
  it('hands one Ctrl-C on once, waits for the program, and passes its exit code on', async () => {
    const { child, ended, output } = await start(`
      let count = 0
      process.on('SIGINT', () => {
        count++
        setTimeout(() => { console.log('interrupted ' + count); process.exit(42) }, 100)
      })
      setInterval(() => {}, 1000)
      console.log('ready')
    `)
    child.kill('SIGINT')
    child.kill('SIGINT')
    expect((await ended)[0]).toBe(42)
    expect(output()).toContain('interrupted 1\n')
  })

  it('leaves nothing behind when the program dies of the signal', async () => {
    const { child, ended, output } = await start(
      `console.log('pid ' + process.pid); console.log('ready'); setInterval(() => {}, 1000)`,
    )
    const pid = Number(/pid (\d+)/.exec(output())?.[1])
    child.kill('SIGTERM')
    expect((await ended)[0]).toBe(143)
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })

  it('passes the exit code of a program that fails on', async () => {
    const { ended } = await start(`console.log('ready'); process.exitCode = 7`)
    expect((await ended)[0]).toBe(7)
  })
})

describe('exitCodeOf', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGKILL', 137],
  ])('%s is %i', (signal, code) => {
    expect(exitCodeOf(signal)).toBe(code)
  })
})
