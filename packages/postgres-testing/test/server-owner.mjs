// A process that owns an embedded server, prints where it is, and then waits to be killed. Node 20 cannot read TypeScript: vite can.
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

const vite = createRequire(createRequire(import.meta.url).resolve('vitest/package.json')).resolve('vite')
const { runnerImport } = await import(pathToFileURL(vite).href)
const { module } = await runnerImport(fileURLToPath(new URL('../src/embedded.ts', import.meta.url)), {
  configFile: false,
})
const { pid, dataDir } = await module.startEmbedded(15, {})
console.log(JSON.stringify({ pid, dataDir }))
setInterval(() => undefined, 1000)
