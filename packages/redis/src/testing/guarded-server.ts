/**
 * A server process that cannot outlive us: between us and it stands a shell that holds the reading end of a pipe. When we end, however
 * that happens (SIGKILL included), the pipe closes, and the shell stops the server and removes its folder.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Arguments: folder, then the server's command. What runs in the background holds none of our pipes, so that their end means the end. */
const guardScript = `
folder=$1; shift
trap '' INT TERM HUP
exec 3<&0 </dev/null >"$folder/server.log" 2>&1
cd "$folder" || exit 1
"$@" 3<&- 4>&- & server=$!
(
  exec 4>&-
  read -r _ <&3
  kill -s KILL $server
) 2>/dev/null & watcher=$!
exec 3<&-
wait $server; code=$?
kill -s KILL $watcher 2>/dev/null
tail -c 2000 "$folder/server.log" >&4
cd /
[ -e "$folder/keep" ] || rm -rf "$folder"
exit $code
`

export interface GuardedServer {
  /** With the server's last words. */
  readonly ended: Promise<{ readonly log: string }>
  stop(): Promise<void>
}

/** The folder belongs to the server and goes with it, unless it holds a file named `keep`. */
export function startGuardedServer(folder: string, command: readonly string[]): GuardedServer {
  const child = spawn('/bin/sh', ['-c', guardScript, 'sh', folder, ...command], {
    stdio: ['pipe', 'ignore', 'ignore', 'ignore', 'pipe'],
    detached: true,
  })
  const { stdin } = child
  const lastWords = child.stdio[4]
  if (stdin === null || !lastWords || !('on' in lastWords)) throw new Error('the guard of a test server has no pipes')
  let log = ''
  lastWords.on('data', (chunk: Buffer) => {
    log += chunk.toString('utf8')
  })
  const ended = once(child, 'close').then(() => ({ log }))
  stdin.on('error', () => undefined)
  // Without these, the pipes would keep a finished test process alive.
  for (const handle of [child, stdin, lastWords]) (handle as { unref?: () => void }).unref?.()
  return {
    ended,
    async stop() {
      child.ref()
      ;(lastWords as { ref?: () => void }).ref?.()
      stdin.end()
      await ended
    },
  }
}
