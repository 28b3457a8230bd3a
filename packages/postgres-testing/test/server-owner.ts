/** A process that owns a server (embedded, or with the argument `container` a container), prints where it is, and waits to be killed. */
import { startContainer } from '../src/container.js'
import { startEmbedded } from '../src/embedded.js'

const server = process.argv[2] === 'container' ? await startContainer(15, {}) : await startEmbedded(15, {})
console.log(JSON.stringify(server))
setInterval(() => undefined, 1000)
